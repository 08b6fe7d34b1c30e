/** What an engine over a journal has to do, on any database. Each process of a case is a life: the layers are built, something is done, they are closed. */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as SqlClient from "effect/sql/SqlClient"
import * as TestClock from "effect/testing/TestClock"
import * as Activity from "effect/workflow/Activity"
import * as DurableClock from "effect/workflow/DurableClock"
import * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import type * as WorkflowEngine from "effect/workflow/WorkflowEngine"
import * as Journal from "../src/Journal.ts"
import * as JournalEngine from "../src/JournalEngine.ts"

export class Refused extends Schema.TaggedError<Refused>()("Refused", { attempt: Schema.Int }) {}

let count = 0

/** A workflow that nobody has used before, and its lives over one database. */
export const make = (
  sql: Layer.Layer<SqlClient.SqlClient, unknown>,
  body: (
    step: <A, E = never>(
      name: string,
      effect: Effect.Effect<A, E>
    ) => Effect.Effect<A, E, WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance>,
    work: Work,
    payload: { readonly id: string; readonly n: number }
  ) => Effect.Effect<string, Refused, any>
) => {
  const work: Work = Workflow.make(`Case${count++}`, {
    payload: { id: Schema.String, n: Schema.Int },
    success: Schema.String,
    error: Refused,
    idempotencyKey: ({ id }) => id
  })
  const done: Array<string> = []
  const step = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
    Activity.make({
      name,
      success: Schema.Any,
      error: Refused,
      execute: Effect.andThen(Effect.sync(() => void done.push(name)), effect) as Effect.Effect<A, any>
    }) as any
  const live = work.toLayer((payload) => body(step, work, payload) as Effect.Effect<string, Refused>)
  const layer = live.pipe(Layer.provideMerge(JournalEngine.layer), Layer.provideMerge(Journal.layer), Layer.provide(sql))
  const life = <A, E>(effect: Effect.Effect<A, E, Journal.Journal | WorkflowEngine.WorkflowEngine>) =>
    Effect.scoped(Effect.flatMap(Layer.build(layer), (context) => Effect.provide(effect, context)))
  return { work, done, life }
}
export type Work = Workflow.Workflow<
  string,
  Schema.Struct<{ readonly id: typeof Schema.String; readonly n: typeof Schema.Int }>,
  typeof Schema.String,
  typeof Refused
>

/** Polls until an execution waits for something that is not there yet. */
export const suspended = (work: Work, id: string) =>
  Effect.andThen(Effect.yieldNow, work.poll(id)).pipe(
    Effect.repeat({ until: (result) => Option.isSome(result) && result.value._tag === "Suspended" })
  )

type Case = readonly [name: string, run: (sql: Layer.Layer<SqlClient.SqlClient, unknown>) => Effect.Effect<void, unknown>]

export const cases: ReadonlyArray<Case> = [
  ["WF-1: the same id is the same execution, once, in any process, with what it was first begun with", (sql) =>
    Effect.gen(function*() {
      const { done, life, work } = make(sql, (step, _, { n }) => step("only", Effect.succeed(`n was ${n}`)))
      const twice = Effect.all([work.execute({ id: "a", n: 1 }), work.execute({ id: "a", n: 2 })], { concurrency: "unbounded" })
      const [first, second] = yield* life(twice)
      assert.include(["n was 1", "n was 2"], first)
      assert.strictEqual(second, first)
      assert.strictEqual(yield* life(work.execute({ id: "a", n: 3 })), first)
      assert.strictEqual(yield* life(work.execute({ id: "b", n: 3 })), "n was 3")
      assert.deepStrictEqual(done, ["only", "only"])
    })],

  ["WF-2: what is in the journal is not run again: results, typed errors, each attempt under its number", (sql) =>
    Effect.gen(function*() {
      const ready = yield* Ref.make(false)
      const { done, life, work } = make(sql, (step, _, { id }) =>
        Effect.gen(function*() {
          const first = yield* step("first", Effect.succeed("kept"))
          const attempt = Effect.filterOrFail(
            Activity.CurrentAttempt,
            (attempt) => attempt === 3,
            (attempt) => new Refused({ attempt })
          )
          const third = yield* Activity.retry(step("second", attempt) as Effect.Effect<number, Refused, any>, { times: 4 })
          if (!(yield* Ref.get(ready))) return yield* Effect.never
          if (id === "bad") return yield* step("third", Effect.fail(new Refused({ attempt: 9 })))
          return `${first} ${third}`
        }))
      const cut = Effect.andThen(work.execute({ id: "good", n: 0 }, { discard: true }), waitFor(() => done.length === 4))
      yield* life(cut)
      yield* Ref.set(ready, true)
      assert.strictEqual(yield* life(work.execute({ id: "good", n: 0 })), "kept 3")
      assert.deepStrictEqual(done, ["first", "second", "second", "second"])
      for (let times = 0; times < 2; times++) {
        assert.deepStrictEqual(yield* life(Effect.flip(work.execute({ id: "bad", n: 0 }))), new Refused({ attempt: 9 }))
      }
      assert.deepStrictEqual(done.slice(4), ["first", "second", "second", "second", "third"])
    })],

  ["WF-3: a process that registers a workflow goes on with what the last one left, by itself", (sql) =>
    Effect.gen(function*() {
      const open = yield* Ref.make(false)
      const { done, life, work } = make(sql, (step) =>
        Effect.gen(function*() {
          yield* step("before", Effect.void)
          if (!(yield* Ref.get(open))) return yield* Effect.never
          return yield* step("after", Effect.succeed("whole"))
        }))
      const id = yield* life(Effect.tap(work.execute({ id: "a", n: 0 }, { discard: true }), waitFor(() => done.length === 1)))
      assert.isTrue(Option.isNone(yield* life(work.poll(id))))
      yield* Ref.set(open, true)
      const result = yield* life(Effect.andThen(Effect.yieldNow, work.poll(id)).pipe(Effect.repeat({ until: Option.isSome })))
      assert.deepStrictEqual(result, Option.some(new Workflow.Complete({ exit: Exit.succeed("whole") })))
      assert.deepStrictEqual(done, ["before", "after"])
    })],

  ["WF-4: a value may be given at any time, by any process, and the first one counts", (sql) =>
    Effect.gen(function*() {
      const approval = DurableDeferred.make("approval", { success: Schema.String })
      const { life, work } = make(sql, () => Effect.map(DurableDeferred.await(approval), (who) => `approved by ${who}`))
      const token = yield* life(DurableDeferred.tokenFromPayload(approval, { workflow: work, payload: { id: "a", n: 0 } }))
      yield* life(Effect.gen(function*() {
        const id = yield* work.execute({ id: "a", n: 0 }, { discard: true })
        yield* suspended(work, id)
      }))
      yield* life(DurableDeferred.succeed(approval, { token, value: "mario" }))
      yield* life(DurableDeferred.succeed(approval, { token, value: "luigi" }))
      assert.strictEqual(yield* life(work.execute({ id: "a", n: 0 })), "approved by mario")
      const awake = yield* life(Effect.gen(function*() {
        const waiting = yield* Effect.forkChild(work.execute({ id: "b", n: 0 }))
        const id = yield* work.executionId({ id: "b", n: 0 })
        yield* suspended(work, id)
        const token = yield* DurableDeferred.tokenFromPayload(approval, { workflow: work, payload: { id: "b", n: 0 } })
        yield* DurableDeferred.succeed(approval, { token, value: "peach" })
        return yield* Fiber.join(waiting)
      }))
      assert.strictEqual(awake, "approved by peach")
    })],

  ["WF-4: a deadline counts from when it was first set, through any number of processes", (sql) =>
    Effect.gen(function*() {
      const { done, life, work } = make(sql, (step) =>
        Effect.andThen(DurableClock.sleep({ name: "settle", duration: "1 hour" }), step("late", Effect.succeed("rested"))))
      const start = Effect.flatMap(work.execute({ id: "a", n: 0 }, { discard: true }), (id) =>
        suspended(work, id))
      yield* life(Effect.andThen(start, TestClock.adjust("20 minutes")))
      yield* TestClock.adjust("20 minutes")
      yield* life(Effect.gen(function*() {
        yield* start
        yield* TestClock.adjust("19 minutes")
        assert.deepStrictEqual(done, [])
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* work.execute({ id: "a", n: 0 }), "rested")
      }))
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(yield* life(work.execute({ id: "a", n: 0 })), "rested")
      assert.deepStrictEqual(done, ["late"])
    })],

  [
    "WF-5: the end of a process undoes nothing; a failure, and a wish to stop that outlives its process, undo what was done, the last first",
    (sql) =>
      Effect.gen(function*() {
        const fails = yield* Ref.make(false)
        const { done, life, work } = make(sql, (step, work) =>
          Effect.gen(function*() {
            const undo = (name: string) => () => Effect.sync(() => void done.push(`undo ${name}`))
            yield* step("one", Effect.void).pipe(work.withCompensation(undo("one")))
            yield* step("two", Effect.void).pipe(work.withCompensation(undo("two")))
            if (yield* Ref.get(fails)) return yield* new Refused({ attempt: 1 })
            return yield* Effect.never
          }))
        const both = waitFor(() => done.includes("two"))
        yield* life(Effect.andThen(work.execute({ id: "a", n: 0 }, { discard: true }), both))
        assert.deepStrictEqual(done.splice(0), ["one", "two"])
        yield* Ref.set(fails, true)
        assert.isTrue(Exit.isFailure(yield* life(Effect.exit(work.execute({ id: "a", n: 0 })))))
        assert.deepStrictEqual(done.splice(0), ["undo two", "undo one"])
        assert.isTrue(Exit.isFailure(yield* life(Effect.exit(work.execute({ id: "a", n: 0 })))))
        assert.deepStrictEqual(done, [])
      })
  ],

  ["WF-5: who begins where nothing runs any more is interrupted", (sql) =>
    Effect.scoped(Effect.gen(function*() {
      const { life, work } = make(Layer.succeedContext(yield* Layer.build(sql)), () => Effect.succeed("whole"))
      const late = yield* life(
        Effect.map(Effect.context<WorkflowEngine.WorkflowEngine>(), (closed) => Effect.provide(work.execute({ id: "a", n: 0 }), closed))
      )
      assert.isTrue(Exit.hasInterrupts(yield* Effect.exit(late)))
    }))],

  ["WF-5: who is asked to stop stops, though the process that was asked has gone", (sql) =>
    Effect.gen(function*() {
      const approval = DurableDeferred.make("approval", { success: Schema.String })
      const { done, life, work } = make(sql, (step, work) =>
        Effect.gen(function*() {
          yield* step("one", Effect.void).pipe(work.withCompensation(() => Effect.sync(() => void done.push("undo one"))))
          return yield* DurableDeferred.await(approval)
        }))
      const id = yield* life(Effect.tap(work.execute({ id: "a", n: 0 }, { discard: true }), (id) => suspended(work, id)))
      // What is left of a process that was killed right after it had written the wish down.
      yield* Effect.scoped(Effect.flatMap(Layer.build(Journal.layer.pipe(Layer.provide(sql))), (context) =>
        Effect.provide(
          Effect.flatMap(Journal.Journal, (journal) => journal.interrupt(id)),
          context
        )))
      assert.deepStrictEqual(done.splice(0), ["one"])
      const exit = yield* life(Effect.exit(work.execute({ id: "a", n: 0 })))
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.deepStrictEqual(done, ["undo one"])
    })],

  [
    "WF-12: an operation that has ended is forgotten with all that is written of its execution, and one that has not is not",
    (sql) =>
      Effect.gen(function*() {
        const { life } = make(sql, () => Effect.succeed(""))
        yield* life(Effect.gen(function*() {
          const journal = yield* Journal.Journal
          const [key, now] = [{ execution: "run", name: "one", attempt: 1 }, yield* Clock.currentTimeMillis]
          yield* journal.open({ id: "gone", group: "group", request: "{}" })
          yield* journal.begin({ id: "run", workflow: "Gone", payload: "{}" })
          yield* journal.recordActivity(key, "{}")
          yield* journal.recordDeferred(key, "{}")
          yield* journal.clock(key, 7)
          assert.isFalse(yield* journal.forget("gone", "run"))
          assert.isTrue(Option.isSome(yield* journal.execution("run")))
          yield* journal.close("gone", "{}")
          assert.deepStrictEqual(yield* journal.ended(now), [])
          assert.deepStrictEqual((yield* journal.ended(now + 1)).map(({ id }) => id), ["gone"])
          assert.isTrue(yield* journal.forget("gone", "run"))
          const left = yield* Effect.all([
            journal.operation("gone"),
            journal.execution("run"),
            journal.activity(key),
            journal.deferred(key)
          ])
          assert.isTrue(left.every((one) => one._tag === "None"))
          assert.strictEqual(yield* journal.clock(key, 8), 8)
        }))
      })
  ],

  ["a workflow that is executed by a workflow, or not registered, is a defect that says so", (sql) =>
    Effect.gen(function*() {
      const { life, work } = make(sql, (_, work, { id }) => id === "a" ? work.execute({ id: "b", n: 0 }) : Effect.succeed("inner"))
      const exit = yield* life(Effect.exit(work.execute({ id: "a", n: 0 })))
      assert.match(String(exit), /was executed by a workflow, which the journal does not follow/)
      const other = make(sql, () => Effect.succeed(""))
      assert.match(String(yield* life(Effect.exit(other.work.execute({ id: "a", n: 0 })))), /is not registered/)
    })]
]

/** Waits for a condition that other fibers bring about. */
export const waitFor = (condition: () => boolean) =>
  Effect.repeat(Effect.andThen(Effect.yieldNow, Effect.sync(condition)), { until: (met) => met })
