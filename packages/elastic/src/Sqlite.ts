/**
 * A `SqlClient` over the SQLite that comes with Node, for journals that live in a file beside what they are the journal of.
 *
 * The file is in WAL mode, so that readers never wait, and a write is complete or not there, whenever the process is killed.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import type { JournalError } from "./ElasticError.ts"
import * as JournalErrors from "./internal/journalError.ts"

/** How a file is opened. */
export interface Options {
  /** Its path, which may not be empty; it is made if it is not there, its folder is not. `:memory:` keeps everything in this process. */
  readonly filename: string
  /**
   * `FULL` (default) syncs the file at every commit, so that commits outlive the machine's loss of power. `NORMAL` syncs now and then: commits outlive the
   * process, however it ends, but the last ones may not outlive the machine.
   */
  readonly synchronous?: "FULL" | "NORMAL" | undefined
  /** How long to go on asking for the lock of a file that another process writes. Default 5 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
}

const fail = (operation: string) => (cause: unknown): SqlError => {
  const { errcode, message } = cause as { readonly errcode?: number; readonly message: string }
  // Effect looks for SQLite's result code under another name than Node's.
  const error = Object.assign(new Error(message, { cause }), errcode === undefined ? {} : { errno: errcode })
  return new SqlError({ reason: classifySqliteError(error, { message, operation }) })
}

const open = Effect.fnUntraced(function*({ busyTimeout = "5 seconds", filename, synchronous = "FULL" }: Options) {
  const database = yield* Effect.acquireRelease(
    Effect.try({
      try: () => {
        // SQLite takes it for a file of its own, which is gone with the process.
        if (filename === "") throw new Error("it has no name")
        return new DatabaseSync(filename)
      },
      catch: fail("open")
    }),
    (database) => Effect.sync(() => database.close())
  )
  const patience = Schedule.max([Schedule.spaced("5 millis"), Schedule.during(busyTimeout)])
  const prepared = new Map<string, StatementSync>()
  const run = (sql: string, parameters: ReadonlyArray<unknown>, shape: "rows" | "arrays" | "outcome") =>
    Effect.withFiber<any, SqlError>((fiber) =>
      Effect.try({
        try: () => {
          let statement = prepared.get(sql)
          if (statement === undefined) prepared.set(sql, statement = database.prepare(sql))
          const answers = statement.columns().length > 0
          // Without it Node 26 throws, after the fact, for a row id beyond 2^53 of a statement that has no answer.
          statement.setReadBigInts(!answers || Context.get(fiber.context, SqlClient.SafeIntegers))
          statement.setReturnArrays(shape === "arrays")
          const values = parameters as ReadonlyArray<SQLInputValue>
          if (answers) return statement.all(...values)
          const outcome = statement.run(...values)
          return shape === "outcome" ? outcome : []
        },
        catch: fail("execute")
      })
    ).pipe(
      // SQLite's own waiting would hold the event loop.
      Effect.retry({ while: ({ reason }) => reason._tag === "LockTimeoutError", schedule: patience })
    )
  yield* run("PRAGMA journal_mode = WAL", [], "rows")
  yield* run(`PRAGMA synchronous = ${synchronous}`, [], "rows")
  yield* run("PRAGMA foreign_keys = ON", [], "rows")
  const [soundness] = yield* run("PRAGMA quick_check(1)", [], "arrays")
  if (soundness[0] !== "ok") {
    return yield* fail("check")(Object.assign(new Error(String(soundness[0])), { errcode: 11 }))
  }
  const rows: Connection["execute"] = (sql, parameters, transform) => {
    const found = run(sql, parameters, "rows")
    return transform === undefined ? found : Effect.map(found, transform)
  }
  const connection: Connection = {
    execute: rows,
    executeUnprepared: rows,
    executeRaw: (sql, parameters) => run(sql, parameters, "outcome"),
    executeValues: (sql, parameters) => run(sql, parameters, "arrays"),
    executeValuesUnprepared: (sql, parameters) => run(sql, parameters, "arrays"),
    executeStream: (sql, parameters, transform) => Stream.unwrap(Effect.map(rows(sql, parameters, transform), Stream.fromIterable))
  }
  return yield* SqlClient.make({
    ...SqlClient.makeSqliteAcquirers({
      connection: Effect.succeed(connection),
      semaphore: yield* Semaphore.make(1),
      isTransaction: () => database.isTransaction
    }),
    driver: "sqlite-node",
    compiler: Statement.makeCompilerSqlite(),
    prepareTransactionControls: true,
    // A transaction that begins by reading could not be given the lock later, whatever its patience.
    beginTransaction: "BEGIN IMMEDIATE",
    spanAttributes: [["db.system.name", "sqlite"]]
  })
})

/** Opens a file and closes it with the layer. A file that is no database, or a damaged one, is found when it is opened. */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, JournalError> =>
  Layer.effect(SqlClient.SqlClient, Effect.mapError(open(options), JournalErrors.fromSql(`open the journal ${options.filename}`))).pipe(
    Layer.provide(Reactivity.layer)
  )
