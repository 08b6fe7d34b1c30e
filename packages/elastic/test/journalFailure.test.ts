import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as TestClock from "effect/testing/TestClock"
import { failing } from "../../../test/harness/failingJournal.ts"
import * as Elastic from "../src/Elastic.ts"
import type { JournalError, ScaleFailed } from "../src/ElasticError.ts"
import * as Group from "./group.ts"
import { four, isAsBefore, told } from "./told.ts"
import { waitFor } from "./workflows.ts"

describe("an operation whose journal fails", () => {
  it.effect("WF-6: never begins if it cannot be written down", () =>
    Effect.gen(function*() {
      const reason = yield* Ref.make(Option.some<JournalError["reason"]>("full"))
      const { group, store } = told()
      yield* Effect.gen(function*() {
        const error = yield* Effect.flip(Elastic.scale(group, { ...four, operation: "a" }))
        assert.strictEqual(error.message, "could not write: no room. Make room")
        assert.deepStrictEqual(store.read().log, [])
        yield* Ref.set(reason, Option.none())
        assert.isTrue((yield* Elastic.scale(group, { ...four, operation: "a" })).changed)
      }).pipe(Effect.provide(failing(reason)))
    }))

  for (const part of ["prepare", "copy", "ready"] as const) {
    it.effect(`WF-6: goes back if that happens in ${part}, and is in nobody's way when the journal can be written again`, () =>
      Effect.gen(function*() {
        const reason = yield* Ref.make(Option.none<JournalError["reason"]>())
        const { group, store } = told((now) => now === part ? Ref.set(reason, Option.some("full")) : Effect.void)
        yield* Effect.gen(function*() {
          const failed = yield* Effect.flip(Elastic.scale(group, { ...four, operation: "a" }))
          assert.deepInclude(failed as ScaleFailed, {
            step: part,
            reason: { _tag: "JournalFailed", issue: "could not write: no room. Make room" }
          })
          isAsBefore(store)
          assert.deepInclude(yield* Elastic.status("a"), { state: "failed", failure: failed as ScaleFailed })
          assert.strictEqual((yield* Effect.flip(Elastic.scale(group, { ...four, operation: "b" })))._tag, "JournalError")
          yield* Ref.set(reason, Option.none())
          assert.deepStrictEqual(yield* Effect.flip(Elastic.scale(group, { ...four, operation: "a" })), failed)
          assert.strictEqual((yield* Effect.flip(Elastic.scale(group, { ...four, operation: "c" })))._tag, "ScaleFailed")
        }).pipe(Effect.provide(failing(reason)))
      }))
  }

  it.effect("WF-6: waits for an answer at the point of no return if a connection was lost, and goes back if none comes", () =>
    Effect.gen(function*() {
      const reason = yield* Ref.make(Option.none<JournalError["reason"]>())
      const { group, store } = told((part) => part === "abort" ? Ref.set(reason, Option.none()) : Effect.void)
      // The line of `ready` is written; what comes after it is not.
      const cutOff = {
        ...group,
        serving: Effect.tap(group.serving, () => {
          const { log, prepared } = store.read()
          return prepared !== null && log.includes("ready") ? Ref.set(reason, Option.some("unavailable")) : Effect.void
        })
      }
      yield* Effect.gen(function*() {
        const patient = yield* Effect.forkChild(Elastic.scale(cutOff, { ...four, operation: "a" }), { startImmediately: true })
        yield* waitFor(() => store.read().log.includes("ready"))
        yield* Effect.repeat(Effect.andThen(Effect.yieldNow, Elastic.status("a")), { until: ({ trouble }) => trouble !== undefined })
        yield* Ref.set(reason, Option.none())
        yield* TestClock.adjust("5 seconds")
        assert.isTrue((yield* Fiber.join(patient)).changed)

        store.write(Group.begin(2))
        const given = yield* Effect.forkChild(Effect.flip(Elastic.scale(cutOff, { ...four, operation: "b" })), { startImmediately: true })
        yield* waitFor(() => store.read().log.includes("ready"))
        yield* Effect.repeat(Effect.andThen(Effect.yieldNow, Elastic.status("b")), { until: ({ trouble }) => trouble !== undefined })
        yield* TestClock.adjust("1 minute")
        assert.deepInclude(yield* Fiber.join(given), { step: "decide", committed: false })
        isAsBefore(store)
      }).pipe(Effect.provide(failing(reason)))
    }))

  it.effect("WF-6: once it is decided, is carried on, and ends when that can be written down", () =>
    Effect.gen(function*() {
      const reason = yield* Ref.make(Option.none<JournalError["reason"]>())
      const { group, store } = told((part) => part === "commit" ? Ref.set(reason, Option.some("full")) : Effect.void)
      yield* Effect.gen(function*() {
        const running = yield* Effect.forkChild(Elastic.scale(group, { ...four, operation: "a" }), { startImmediately: true })
        yield* Effect.repeat(Effect.andThen(Effect.yieldNow, Effect.exit(Elastic.status("a"))), {
          until: (exit) => Exit.isSuccess(exit) && exit.value.trouble !== undefined
        })
        assert.deepInclude(yield* Elastic.status("a"), { committed: true, step: "commit", trouble: "could not write: no room. Make room" })
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(store.read().serving.epoch, 1)
        yield* Ref.set(reason, Option.none())
        yield* TestClock.adjust("5 seconds")
        assert.isTrue((yield* Fiber.join(running)).changed)
        assert.deepStrictEqual(store.read().log, ["prepare", "copy", "ready", "commit", "retire"])
      }).pipe(Effect.provide(failing(reason)))
    }))
})
