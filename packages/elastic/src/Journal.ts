/**
 * What a workflow has done, written down where the next process finds it: executions, results of activities, deferred values, deadlines.
 *
 * Every write is one statement or one transaction. Each says what stands there afterwards, and writing the same again changes nothing, so that a process that was
 * killed right before or right after a write can be followed by one that writes it again.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { JournalError } from "./ElasticError.ts"
import * as JournalErrors from "./internal/journalError.ts"
import { migrations } from "./internal/migrations.ts"

/** One run of a workflow. */
export interface Execution {
  readonly id: string
  readonly workflow: string
  /** What it was begun with, as JSON. */
  readonly payload: string
  /** How it ended, as JSON. */
  readonly result: Option.Option<string>
  /** Whether somebody has asked it to stop. */
  readonly interrupted: boolean
}

/** One change of a group's size. */
export interface Operation {
  readonly id: string
  readonly group: string
  /** What is to be done, as JSON. */
  readonly request: string
  /** `committing` is the point of no return: from there on it is only carried on. */
  readonly state: "preparing" | "committing" | "ended"
  /** Whether somebody has called it off, which counts only while it was `preparing`. */
  readonly cancelled: boolean
  /** How it ended, as JSON. */
  readonly outcome: Option.Option<string>
}

/** Everything that is written and read; values are JSON, times milliseconds since 1970. */
export class Journal extends Context.Service<Journal, {
  /** Begins an execution, unless it is there, and says how it stands. */
  readonly begin: (
    execution: { readonly id: string; readonly workflow: string; readonly payload: string }
  ) => Effect.Effect<Execution, JournalError>
  /** Writes down how an execution ended; the first result counts. */
  readonly end: (id: string, result: string) => Effect.Effect<void, JournalError>
  /** Writes down that an execution is to stop. */
  readonly interrupt: (id: string) => Effect.Effect<void, JournalError>
  /** An execution as it stands. */
  readonly execution: (id: string) => Effect.Effect<Option.Option<Execution>, JournalError>
  /** Executions of a workflow that have no result, the oldest first. */
  readonly unfinished: (workflow: string) => Effect.Effect<ReadonlyArray<Execution>, JournalError>
  /** What an attempt of an activity ended with. */
  readonly activity: (key: ActivityKey) => Effect.Effect<Option.Option<string>, JournalError>
  /** Writes that down; the first exit counts. */
  readonly recordActivity: (key: ActivityKey, exit: string) => Effect.Effect<void, JournalError>
  /** The value of a deferred. */
  readonly deferred: (key: Key) => Effect.Effect<Option.Option<string>, JournalError>
  /** Writes a value down; the first one counts. */
  readonly recordDeferred: (key: Key, exit: string) => Effect.Effect<void, JournalError>
  /** The deadline that counts, which is the first. */
  readonly clock: (key: Key, deadline: number) => Effect.Effect<number, JournalError>
  /** What an execution's activities ended with. */
  readonly activities: (execution: string) => Effect.Effect<ReadonlyArray<{ readonly name: string; readonly exit: string }>, JournalError>
  /**
   * Begins an operation, unless it is there or its group has another that has not ended: of the two, the one that stands there. A group never has two operations
   * that have not ended.
   */
  readonly open: (
    operation: { readonly id: string; readonly group: string; readonly request: string }
  ) => Effect.Effect<Operation, JournalError>
  /** An operation as it stands. */
  readonly operation: (id: string) => Effect.Effect<Option.Option<Operation>, JournalError>
  /** The operation of a group that has not ended. */
  readonly unended: (group: string) => Effect.Effect<Option.Option<Operation>, JournalError>
  /** Moves an operation to `committing`, unless it was called off before; how it stands then. */
  readonly decide: (id: string) => Effect.Effect<Operation, JournalError>
  /** Calls an operation off, unless it is `committing`; how it stands then. */
  readonly cancel: (id: string) => Effect.Effect<Operation, JournalError>
  /** Ends an operation; the first outcome counts, and when that was. */
  readonly close: (id: string, outcome: string) => Effect.Effect<void, JournalError>
  /** Operations that ended before a time, the oldest first. */
  readonly ended: (before: number) => Effect.Effect<ReadonlyArray<Operation>, JournalError>
  /** Forgets an operation, and the execution that it was, with all that belongs to it, unless it has not ended; whether it did. */
  readonly forget: (operation: string, execution: string) => Effect.Effect<boolean, JournalError>
}>()("@phalanx/elastic/Journal") {}

/** Names something within an execution. */
export interface Key {
  readonly execution: string
  readonly name: string
}

/** Each attempt of an activity has a result of its own. */
export interface ActivityKey extends Key {
  readonly attempt: number
}

interface Row {
  readonly id: string
  readonly workflow: string
  readonly payload: string
  readonly result: string | null
  readonly interrupted: number
}

const fromRow = ({ id, interrupted, payload, result, workflow }: Row): Execution => ({
  id,
  workflow,
  payload,
  result: Option.fromNullishOr(result),
  interrupted: interrupted !== 0
})

interface OperationRow {
  readonly id: string
  readonly group_id: string
  readonly request: string
  readonly state: Operation["state"]
  readonly cancelled: number
  readonly outcome: string | null
}

const fromOperationRow = ({ cancelled, group_id, id, outcome, request, state }: OperationRow): Operation => ({
  id,
  group: group_id,
  request,
  state,
  cancelled: cancelled !== 0,
  outcome: Option.fromNullishOr(outcome)
})

const make = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const as = <A>(operation: string, effect: Effect.Effect<A, SqlError>) => Effect.mapError(effect, JournalErrors.fromSql(operation))
  const one = <A>(rows: ReadonlyArray<A>) => Option.fromNullishOr(rows[0])
  const execution = (id: string) =>
    Effect.map(sql<Row>`SELECT * FROM phalanx_executions WHERE id = ${id}`, (rows) => Option.map(one(rows), fromRow))

  const operation = (id: string) =>
    Effect.map(sql<OperationRow>`SELECT * FROM phalanx_operations WHERE id = ${id}`, (rows) => Option.map(one(rows), fromOperationRow))
  const unended = (group: string) =>
    Effect.map(
      sql<OperationRow>`SELECT * FROM phalanx_operations WHERE group_id = ${group} AND state <> 'ended'`,
      (rows) => Option.map(one(rows), fromOperationRow)
    )

  yield* Migrator.make({})({ loader: migrations, table: "phalanx_migrations" }).pipe(
    Effect.mapError((error) =>
      error._tag === "SqlError"
        ? JournalErrors.fromSql("prepare the journal")(error)
        : JournalErrors.make("prepare the journal", "damaged", error.message)
    )
  )

  return Journal.of({
    begin: ({ id, payload, workflow }) =>
      as(
        `begin ${workflow} ${id}`,
        sql`INSERT INTO phalanx_executions ${sql.insert({ id, workflow, payload, interrupted: 0 })} ON CONFLICT (id) DO NOTHING`.pipe(
          Effect.andThen(execution(id)),
          Effect.map(Option.getOrThrow)
        )
      ),
    end: (id, result) =>
      as(`end ${id}`, Effect.asVoid(sql`UPDATE phalanx_executions SET result = ${result} WHERE id = ${id} AND result IS NULL`)),
    interrupt: (id) => as(`interrupt ${id}`, Effect.asVoid(sql`UPDATE phalanx_executions SET interrupted = 1 WHERE id = ${id}`)),
    execution: (id) => as(`read ${id}`, execution(id)),
    unfinished: (workflow) =>
      as(
        `read unfinished executions of ${workflow}`,
        Effect.map(
          sql<Row>`SELECT * FROM phalanx_executions WHERE workflow = ${workflow} AND result IS NULL ORDER BY number`,
          (rows) => rows.map(fromRow)
        )
      ),
    activity: ({ attempt, execution, name }) =>
      as(
        `read the activity ${name} of ${execution}`,
        Effect.map(
          sql<
            { exit: string }
          >`SELECT exit FROM phalanx_activities WHERE execution = ${execution} AND name = ${name} AND attempt = ${attempt}`,
          (rows) => Option.map(one(rows), ({ exit }) => exit)
        )
      ),
    recordActivity: ({ attempt, execution, name }, exit) =>
      as(
        `record the activity ${name} of ${execution}`,
        Effect.asVoid(
          sql`INSERT INTO phalanx_activities ${
            sql.insert({ execution, name, attempt, exit })
          } ON CONFLICT (execution, name, attempt) DO NOTHING`
        )
      ),
    deferred: ({ execution, name }) =>
      as(
        `read ${name} of ${execution}`,
        Effect.map(
          sql<{ exit: string }>`SELECT exit FROM phalanx_deferreds WHERE execution = ${execution} AND name = ${name}`,
          (rows) => Option.map(one(rows), ({ exit }) => exit)
        )
      ),
    recordDeferred: ({ execution, name }, exit) =>
      as(
        `record ${name} of ${execution}`,
        Effect.asVoid(sql`INSERT INTO phalanx_deferreds ${sql.insert({ execution, name, exit })} ON CONFLICT (execution, name) DO NOTHING`)
      ),
    clock: ({ execution, name }, deadline) =>
      as(
        `set the clock ${name} of ${execution}`,
        sql`INSERT INTO phalanx_clocks ${sql.insert({ execution, name, deadline })} ON CONFLICT (execution, name) DO NOTHING`.pipe(
          Effect.andThen(
            sql<{ deadline: number | string }>`SELECT deadline FROM phalanx_clocks WHERE execution = ${execution} AND name = ${name}`
          ),
          // PostgreSQL's client gives 64-bit integers as text.
          Effect.map(([row]) => Number(row!.deadline))
        )
      ),
    activities: (execution) =>
      as(
        `read the activities of ${execution}`,
        sql<{ name: string; exit: string }>`SELECT name, exit FROM phalanx_activities WHERE execution = ${execution}`
      ),
    open: ({ group, id, request }) =>
      as(
        `begin the operation ${id}`,
        sql`INSERT INTO phalanx_operations ${
          sql.insert({ id, group_id: group, request, state: "preparing", cancelled: 0 })
        } ON CONFLICT DO NOTHING`.pipe(
          Effect.andThen(operation(id)),
          Effect.filterOrElse(Option.isSome, () => unended(group)),
          // The one in the way may have ended in between.
          Effect.repeat({ until: Option.isSome }),
          Effect.map(Option.getOrThrow)
        )
      ),
    operation: (id) => as(`read the operation ${id}`, operation(id)),
    unended: (group) => as(`read the operation of ${group}`, unended(group)),
    decide: (id) =>
      as(
        `commit the operation ${id}`,
        sql`UPDATE phalanx_operations SET state = 'committing' WHERE id = ${id} AND state = 'preparing' AND cancelled = 0`.pipe(
          Effect.andThen(operation(id)),
          Effect.map(Option.getOrThrow)
        )
      ),
    cancel: (id) =>
      as(
        `cancel the operation ${id}`,
        sql`UPDATE phalanx_operations SET cancelled = 1 WHERE id = ${id} AND state = 'preparing'`.pipe(
          Effect.andThen(operation(id)),
          Effect.map(Option.getOrThrow)
        )
      ),
    close: (id, outcome) =>
      as(
        `end the operation ${id}`,
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          Effect.asVoid(
            sql`UPDATE phalanx_operations SET state = 'ended', outcome = ${outcome}, ended = ${now} WHERE id = ${id} AND state <> 'ended'`
          ))
      ),
    ended: (before) =>
      as(
        "read the operations that have ended",
        Effect.map(
          sql<OperationRow>`SELECT * FROM phalanx_operations WHERE state = 'ended' AND ended < ${before} ORDER BY ended`,
          (rows) => rows.map(fromOperationRow)
        )
      ),
    forget: (id, execution) =>
      as(
        `forget the operation ${id}`,
        sql.withTransaction(Effect.gen(function*() {
          const gone = yield* sql`DELETE FROM phalanx_operations WHERE id = ${id} AND state = 'ended' RETURNING id`
          if (gone.length === 0) return false
          for (const table of ["phalanx_activities", "phalanx_deferreds", "phalanx_clocks"]) {
            yield* sql`DELETE FROM ${sql(table)} WHERE execution = ${execution}`
          }
          yield* sql`DELETE FROM phalanx_executions WHERE id = ${execution}`
          return true
        }))
      )
  })
})

/** The journal in any database that there is a `SqlClient` for: SQLite and PostgreSQL are tested. Its tables are made if they are not there. */
export const layer: Layer.Layer<Journal, JournalError, SqlClient.SqlClient> = Layer.effect(Journal, make)
