import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as SqlClient from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Elastic from "../src/Elastic.ts"
import type { ResizeError, ScaleFailed, Step } from "../src/ElasticError.ts"
import * as Journal from "../src/Journal.ts"
import * as Sqlite from "../src/Sqlite.ts"
import { four, isAsBefore, refused, stopIn, told } from "./told.ts"
import { waitFor } from "./workflows.ts"

const layer = Elastic.layerSqlite({ filename: ":memory:" })
describe("an operation", () => {
  it.effect("brings a group to a shape, or goes on without any of its members, and tells what it took", () =>
    Effect.gen(function*() {
      const { group, store } = told()
      const up = yield* Elastic.scale(group, { ...four, operation: "up" })
      assert.deepStrictEqual([up.changed, up.from.members, up.to.members, up.pauseMillis], [true, [0, 1], [0, 1, 2, 3], 7])
      assert.deepStrictEqual(up.steps.map(({ step }) => step), ["validate", "prepare", "copy", "ready", "decide", "commit", "retire"])
      const down = yield* Elastic.scale(group, { leave: [0, 2], operation: "down" })
      assert.deepStrictEqual(down.to, { epoch: 2, shape: { dp: 2, tp: 1 }, members: [1, 3] })
      assert.deepStrictEqual([store.read().prepared, store.read().remains], [null, []])
      assert.deepStrictEqual((yield* Elastic.status("up")).result, up)
    }).pipe(Effect.provide(layer)))

  it.effect("that asks for what is there ends at once, and touches nothing", () =>
    Effect.gen(function*() {
      const { group, store } = told()
      const { changed, to } = yield* Elastic.scale(group, { to: { dp: 2, tp: 1 }, operation: "same" })
      assert.deepStrictEqual([changed, to.epoch, store.read().log], [false, 0, []])
      assert.isFalse((yield* Elastic.scale(group, { leave: [], operation: "nobody" })).changed)
    }).pipe(Effect.provide(layer)))

  it.effect("WF-7: the same name is the same operation: joined while it runs, told again when it has ended, also how it failed", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const entered = { now: false }
      const { group, store } = told(stopIn("copy", latch, entered))
      const first = yield* Effect.forkChild(Elastic.scale(group, { ...four, operation: "a" }), { startImmediately: true })
      yield* waitFor(() => entered.now)
      const second = yield* Effect.forkChild(Elastic.scale(group, { ...four, operation: "a" }), { startImmediately: true })
      yield* Deferred.succeed(latch, undefined)
      const result = yield* Fiber.join(first)
      assert.deepStrictEqual(yield* Fiber.join(second), result)
      assert.deepStrictEqual(yield* Elastic.scale(group, { ...four, operation: "a" }), result)
      assert.strictEqual(store.read().log.length, 5)

      const bad = told((part) => part === "ready" ? Effect.fail(refused("no")) : Effect.void, "bad")
      const again = yield* Effect.replicateEffect(Effect.flip(Elastic.scale(bad.group, { ...four, operation: "b" })), 2)
      assert.deepStrictEqual(again[1], again[0])
      assert.deepStrictEqual(bad.store.read().log, ["prepare", "copy", "ready", "abort"])
    }).pipe(Effect.provide(layer)))

  it.effect("WF-7: one at a time a group: another meanwhile, or the same name for something else, is a conflict that names it", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const entered = { now: false }
      const { group } = told(stopIn("copy", latch, entered))
      const running = yield* Effect.forkChild(Elastic.scale(group, { ...four, operation: "a" }), { startImmediately: true })
      yield* waitFor(() => entered.now)
      const other = yield* Effect.flip(Elastic.scale(group, { to: { dp: 3, tp: 1 }, operation: "b" }))
      assert.strictEqual(other._tag, "ScaleConflict")
      assert.strictEqual(
        other.message,
        "b cannot begin on books: a has not ended. Wait for it, call it off, or adopt the group if its driver is gone"
      )
      const renamed = yield* Effect.flip(Elastic.scale(group, { leave: [1], operation: "a" }))
      assert.include(renamed.message, "a cannot begin on books: it was begun as {\"to\":{\"dp\":4,\"tp\":1}} on books")
      // Another group is not in the way, and not held up.
      assert.isTrue((yield* Elastic.scale(told(undefined, "other").group, { ...four, operation: "c" })).changed)
      yield* Deferred.succeed(latch, undefined)
      yield* Fiber.join(running)
      assert.isTrue((yield* Elastic.scale(group, { to: { dp: 3, tp: 1 }, operation: "d" })).changed)
    }).pipe(Effect.provide(layer)))

  it.effect("WF-8: a request that does not fit is refused before the group is asked for anything", () =>
    Effect.gen(function*() {
      const { group, store } = told()
      let count = 0
      const issue = (request: { readonly to: Record<string, number> } | { readonly leave: ReadonlyArray<number> }) =>
        Effect.map(Effect.flip(Elastic.scale(group, { ...request, operation: `bad ${count++}` })), (error) =>
          error._tag === "ScaleFailed" && error.reason._tag === "Refused" && !error.committed ? error.reason.issue : error)
      assert.strictEqual(yield* issue({ to: { dp: 4 } }), "the group has the dimensions dp, tp, not dp. Ask for what the group can be")
      assert.strictEqual(yield* issue({ to: { dp: 0, tp: 1 } }), "dp cannot be 0. Ask for what the group can be")
      assert.strictEqual(yield* issue({ leave: [7] }), "there is no member 7, only 0, 1. Ask for what the group can be")
      assert.strictEqual(yield* issue({ leave: [1, 1] }), "a member cannot leave twice: 1, 1. Ask for what the group can be")
      assert.strictEqual(yield* issue({ leave: [0, 1] }), "a group cannot go on without members. Ask for what the group can be")
      assert.deepStrictEqual(store.read().log, [])
      assert.isTrue((yield* Elastic.scale(group, { ...four, operation: "good" })).changed)
    }).pipe(Effect.provide(layer)))

  for (const part of ["prepare", "copy", "ready"] as const) {
    it.effect(`WF-8: a ${part} that fails, or dies of a bug, leaves the membership that there was, and its reason in the status`, () =>
      Effect.gen(function*() {
        const fails = yield* Ref.make<Effect.Effect<void, ResizeError>>(Effect.fail(refused("two ranks found no room")))
        const { group, store } = told((now) => now === part ? Effect.flatten(Ref.get(fails)) : Effect.void)
        const failed = yield* Effect.flip(Elastic.scale(group, { ...four, operation: "a" }))
        assert.strictEqual(failed.message, `a failed in ${part}: two ranks found no room. Try something else; the old membership serves on`)
        isAsBefore(store)
        const { failure, state, steps } = yield* Elastic.status("a")
        assert.deepStrictEqual([state, failure], ["failed", failed])
        assert.isFalse(steps.some(({ step }) => step === part))
        yield* Ref.set(fails, Effect.die(new TypeError("undefined is not a rank")))
        const bug = yield* Effect.flip(Elastic.scale(group, { ...four, operation: "b" }))
        assert.deepInclude(bug, { step: part, reason: { _tag: "Defect", issue: "TypeError: undefined is not a rank" } })
        isAsBefore(store)
        yield* Ref.set(fails, Effect.void)
        assert.isTrue((yield* Elastic.scale(group, { ...four, operation: "c" })).changed)
      }).pipe(Effect.provide(layer)))

    it.effect(`WF-8: a cancel in ${part} interrupts it, and what was prepared is undone when it has stopped`, () =>
      Effect.gen(function*() {
        const entered = { now: false }
        const { group, store } = told((now) =>
          now === part
            ? Effect.onInterrupt(
              Effect.andThen(Effect.sync(() => void (entered.now = true)), Effect.never),
              () => Effect.sync(() => store.write({ ...store.read(), log: [...store.read().log, "stopped"] }))
            )
            : Effect.void
        )
        const running = yield* Effect.forkChild(Effect.flip(Elastic.scale(group, { ...four, operation: "a" })), { startImmediately: true })
        yield* waitFor(() => entered.now)
        yield* Elastic.cancel("a")
        assert.deepInclude(yield* Fiber.join(running), { step: part, reason: { _tag: "Cancelled" }, committed: false })
        assert.deepStrictEqual(store.read().log.slice(-2), ["stopped", "abort"])
        isAsBefore(store)
        const late = yield* Effect.flip(Elastic.cancel("a"))
        assert.strictEqual(late.message, "a has ended")
      }).pipe(Effect.provide(layer)))

    it.effect(`WF-8: a deadline that passes in ${part} ends it likewise`, () =>
      Effect.gen(function*() {
        const entered = { now: false }
        const latch = yield* Deferred.make<void>()
        const { group, store } = told(stopIn(part, latch, entered))
        const running = yield* Effect.forkChild(
          Effect.flip(Elastic.scale(group, { ...four, operation: "a", deadline: "1 minute" })),
          { startImmediately: true }
        )
        yield* waitFor(() => entered.now)
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual((yield* Elastic.status("a")).state, "running")
        yield* TestClock.adjust("1 second")
        const failed = yield* Fiber.join(running)
        assert.strictEqual(failed.message, `a failed in ${part}: it was not ready after 60000 ms; the old membership serves on`)
        isAsBefore(store)
      }).pipe(Effect.provide(layer)))
  }

  it.effect("WF-8: an interrupted caller leaves the operation to go on", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const entered = { now: false }
      const { group } = told(stopIn("prepare", latch, entered))
      const caller = yield* Effect.forkChild(Elastic.scale(group, { ...four, operation: "a" }), { startImmediately: true })
      yield* waitFor(() => entered.now)
      yield* Fiber.interrupt(caller)
      yield* Deferred.succeed(latch, undefined)
      assert.isTrue((yield* Elastic.scale(group, { ...four, operation: "a" })).changed)
    }).pipe(Effect.provide(layer)))

  it.effect("WF-5: whoever waits for it where it does not run any more is interrupted", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const entered = { now: false }
      const { group } = told(stopIn("copy", latch, entered))
      const waiting = yield* Effect.scoped(Effect.gen(function*() {
        const { scale } = Context.get(yield* Layer.build(layer), Elastic.Elastic)
        const waiting = yield* Effect.forkDetach(scale(group, { ...four, operation: "a" }), { startImmediately: true })
        yield* waitFor(() => entered.now)
        return waiting
      }))
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(waiting)))
      // Who comes when it has ended is not told otherwise.
      const sql = yield* Layer.build(Sqlite.layer({ filename: ":memory:" }))
      const closed = yield* Effect.scoped(
        Layer.build(Elastic.layer.pipe(Layer.provide(Journal.layer), Layer.provide(Layer.succeedContext(sql))))
      )
      assert.isTrue(
        Exit.hasInterrupts(yield* Effect.exit(Elastic.scale(told().group, { ...four, operation: "b" }).pipe(Effect.provide(closed))))
      )
    }))

  it.effect("WF-8: a membership that changes meanwhile is not committed over", () =>
    Effect.gen(function*() {
      const { group, store } = told((part) =>
        part === "ready"
          ? Effect.sync(() => store.write({ ...store.read(), serving: { epoch: 1, shape: { dp: 1, tp: 1 }, members: [1] } }))
          : Effect.void
      )
      const failed = yield* Effect.flip(Elastic.scale(group, { ...four, operation: "a" }))
      assert.include(failed.message, "a failed in decide: the membership of epoch 0 does not serve any more")
      assert.deepStrictEqual(store.read().serving.members, [1])
    }).pipe(Effect.provide(layer)))

  it.effect("WF-8: an undoing that fails is tried again, and said if it was given up", () =>
    Effect.gen(function*() {
      const left = yield* Ref.make(3)
      const { group, store } = told((part) =>
        part === "copy" ? Effect.fail(refused("no")) : part !== "abort" ? Effect.void : Effect.flatMap(
          Ref.getAndUpdate(left, (n) => n - 1),
          (n) => n > 0 ? Effect.fail(refused("a rank does not answer")) : Effect.void
        )
      )
      const first = yield* Effect.forkChild(Effect.flip(Elastic.scale(group, { ...four, operation: "a" })), { startImmediately: true })
      yield* waitFor(() => store.read().log.includes("abort"))
      assert.deepInclude(yield* Elastic.status("a"), { state: "rollingBack", trouble: "a rank does not answer. Try something else" })
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(first)
      assert.strictEqual(store.read().log.filter((part) => part === "abort").length, 4)
      yield* Ref.set(left, 100)
      const second = yield* Effect.forkChild(Effect.flip(Elastic.scale(group, { ...four, operation: "b" })), { startImmediately: true })
      yield* waitFor(() => store.read().log.filter((part) => part === "abort").length === 5)
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* Fiber.join(second), { step: "copy" as Step })
      assert.deepInclude(yield* Elastic.status("b"), { state: "failed", trouble: "a rank does not answer. Try something else" })
    }).pipe(Effect.provide(layer)))

  for (const part of ["commit", "retire"] as const) {
    it.effect(`WF-9: past the point of no return a ${part} that fails is tried until it succeeds, and cancelling is refused`, () =>
      Effect.gen(function*() {
        const left = yield* Ref.make(3)
        const { group, store } = told((now) =>
          now !== part ? Effect.void : Effect.flatMap(
            Ref.getAndUpdate(left, (n) => n - 1),
            (n) => n > 0 ? Effect.fail(refused("a rank is restarting")) : Effect.void
          )
        )
        const running = yield* Effect.forkChild(
          Elastic.scale(group, { ...four, operation: "a", deadline: "1 second" }),
          { startImmediately: true }
        )
        yield* waitFor(() => store.read().log.includes(part))
        assert.deepInclude(yield* Elastic.status("a"), {
          state: "running",
          committed: true,
          step: part,
          trouble: "a rank is restarting. Try something else"
        })
        const late = yield* Effect.flip(Elastic.cancel("a"))
        assert.strictEqual(late.message, "a is past the point of no return and is carried to its end")
        yield* TestClock.adjust("1 minute")
        assert.isTrue((yield* Fiber.join(running)).changed)
        assert.strictEqual(store.read().log.filter((now) => now === part).length, 4)
        assert.isFalse(store.read().log.includes("abort"))
        assert.isUndefined((yield* Elastic.status("a")).trouble)
      }).pipe(Effect.provide(layer)))
  }

  it.effect("WF-9: past the point of no return only a group that is gone ends an operation, which says so", () =>
    Effect.gen(function*() {
      const { group } = told((part) => part === "commit" ? Effect.fail(refused("the group has failed", true)) : Effect.void)
      const failed = yield* Effect.flip(Elastic.scale(group, { ...four, operation: "a" }))
      assert.strictEqual(failed.message, "a failed in commit: the group has failed. Try something else; the group has failed")
      assert.isTrue(failed._tag === "ScaleFailed" && failed.committed)
    }).pipe(Effect.provide(layer)))
})

describe("operations that have ended", () => {
  it.effect("WF-12: are kept until they are forgotten by their age, with all that was written of them; then their names are free", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const entered = { now: false }
      const [{ group }, waiting] = [told(), told(stopIn("copy", latch, entered), "another")]
      const to = (dp: number, operation: string) => Elastic.scale(group, { to: { dp, tp: 1 }, operation })
      const running = yield* Effect.forkChild(Elastic.scale(waiting.group, { ...four, operation: "runs" }), { startImmediately: true })
      yield* waitFor(() => entered.now)
      yield* to(4, "old")
      yield* TestClock.adjust("20 days")
      const { epoch } = (yield* to(3, "young")).to
      yield* TestClock.adjust("20 days")
      assert.deepStrictEqual([yield* Elastic.forget("50 days"), yield* Elastic.forget("Infinity")], [0, 0])
      assert.deepStrictEqual([yield* Elastic.forget("30 days"), yield* Elastic.forget("30 days")], [1, 0])
      assert.strictEqual((yield* Effect.flip(Elastic.status("old")))._tag, "OperationNotFound")
      assert.deepInclude(yield* Elastic.status("young"), { state: "done" })
      assert.deepInclude(yield* to(2, "old"), { changed: true, to: { epoch: epoch + 1, shape: { dp: 2, tp: 1 }, members: [0, 1] } })
      // What has not ended is none of these.
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* Elastic.forget(0), 2)
      const sql = yield* SqlClient.SqlClient
      const rows = Effect.forEach(
        ["operations", "executions", "activities"],
        (table) => Effect.map(sql`SELECT * FROM ${sql(`phalanx_${table}`)}`, ({ length }) => length)
      )
      // Of which two steps are done.
      assert.deepStrictEqual(yield* rows, [1, 1, 2])
      yield* Deferred.succeed(latch, undefined)
      assert.isTrue((yield* Fiber.join(running)).changed)
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* Elastic.forget("1 hour"), 1)
      assert.deepStrictEqual(yield* rows, [0, 0, 0])
    }).pipe(
      Effect.provide(Elastic.layer.pipe(Layer.provideMerge(Journal.layer), Layer.provideMerge(Sqlite.layer({ filename: ":memory:" }))))
    ))
})

describe("an operation in words", () => {
  it.effect("WF-11: status and progress tell every step, how far it is and what came of it, to whoever comes at any time", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const entered = { now: false }
      const stop = stopIn("copy", latch, entered)
      const { group } = told((part, resize) =>
        part === "copy" ? Effect.andThen(resize.report({ what: "bytes", done: 3, total: 8 }), stop(part)) : Effect.void
      )
      const running = yield* Effect.forkChild(Elastic.scale(group, { ...four, operation: "a" }), { startImmediately: true })
      yield* waitFor(() => entered.now)
      assert.deepInclude(yield* Elastic.status("a"), {
        state: "running",
        committed: false,
        step: "copy" as Step,
        progress: { what: "bytes", done: 3, total: 8 }
      })
      const watching = yield* Effect.forkChild(Stream.runCollect(Elastic.progress("a")), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Deferred.succeed(latch, undefined)
      const result = yield* Fiber.join(running)
      const told_ = yield* Fiber.join(watching)
      const seen = told_.flatMap(({ step }) => step ?? [])
      assert.deepStrictEqual([...new Set(seen)], ["copy", "ready", "decide", "commit", "retire"])
      assert.deepInclude(told_.at(-1)!, { state: "done", result })
      assert.deepStrictEqual((yield* Stream.runCollect(Elastic.progress("a"))).map(({ state }) => state), ["done"])
      for (const ask of [Elastic.status("b"), Elastic.cancel("b"), Stream.runCollect(Elastic.progress("b"))]) {
        assert.strictEqual(
          (yield* Effect.flip(ask as Effect.Effect<unknown, { readonly message: string }, Elastic.Elastic>)).message,
          "there is no operation b in the journal"
        )
      }
    }).pipe(Effect.provide(layer)))

  it.effect("WF-11: other processes see and conflict with it, and their cancel counts at the point of no return at the latest", () =>
    Effect.gen(function*() {
      const sql = yield* Layer.build(Sqlite.layer({ filename: ":memory:" }))
      const process = Effect.map(
        Layer.build(Elastic.layer.pipe(Layer.provide(Journal.layer), Layer.provide(Layer.succeedContext(sql)))),
        (context) => <A, E>(effect: Effect.Effect<A, E, Elastic.Elastic>) => Effect.provide(effect, context)
      )
      const [one, other] = [yield* process, yield* process]
      const latch = yield* Deferred.make<void>()
      const entered = { now: false }
      const { group, store } = told(stopIn("copy", latch, entered))
      const running = yield* Effect.forkChild(one(Effect.flip(Elastic.scale(group, { ...four, operation: "a" }))), {
        startImmediately: true
      })
      yield* waitFor(() => entered.now)
      const { committed, state, step, steps } = yield* other(Elastic.status("a"))
      assert.deepStrictEqual([state, committed, step, steps.map(({ step }) => step)], ["running", false, undefined, [
        "validate",
        "prepare"
      ]])
      const conflict = yield* other(Effect.flip(Elastic.scale(group, { ...four, operation: "a" })))
      assert.include(conflict.message, "another driver has begun it")
      const watching = yield* Effect.forkChild(other(Stream.runCollect(Elastic.progress("a"))), { startImmediately: true })
      yield* other(Elastic.cancel("a"))
      yield* Deferred.succeed(latch, undefined)
      assert.deepInclude((yield* Fiber.join(running)) as ScaleFailed, { step: "decide", reason: { _tag: "Cancelled" } })
      isAsBefore(store)
      yield* TestClock.adjust("1 second")
      assert.deepInclude((yield* Fiber.join(watching)).at(-1)!, { state: "failed", committed: false })
      assert.isTrue(Option.isNone(yield* other(Elastic.adopt(group))))
    }))
})
