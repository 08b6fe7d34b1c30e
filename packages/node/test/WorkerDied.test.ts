import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { start } from "./fixtures/start.ts"
import { eventually, lives } from "./fixtures/system.ts"

type Started = Effect.Success<ReturnType<typeof start>>

/** The death in which a call to a group of one ends. */
const deathIn = (call: (started: Started) => Effect.Effect<unknown, { readonly reason: unknown }>) =>
  Effect.scoped(Effect.gen(function*() {
    const started = yield* start(1)
    const { reason } = yield* Effect.flip(call(started))
    const died = yield* Effect.flip(started.group.failure)
    assert.strictEqual(reason, died)
    return died
  }))

describe("a worker's death", () => {
  it.live("CO-4: SIGKILL in a call fails it with pid, signal, method and the last of standard error, and the group once", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group, pids, said } = yield* start(2)
      const stderr = Array.from({ length: 25 }, (_, i) => `line ${i}`)
      const calls = yield* group.fork.hold({ stderr })
      yield* eventually("rank 1 holds", () => said(1, "line 24"))
      process.kill(pids[1]!, "SIGKILL")
      const error = yield* Effect.flip(Fiber.join(calls[1]!))
      const died = error.reason
      assert.strictEqual(died._tag, "WorkerDied")
      if (died._tag !== "WorkerDied") return
      assert.deepStrictEqual([died.rank, died.pid, died.incarnation, died.method], [1, pids[1], 0, "hold"])
      assert.deepStrictEqual(died.death, { _tag: "Killed", signal: "SIGKILL" })
      assert.deepStrictEqual(died.stderr, stderr.slice(5))
      assert.match(died.message, /rank 1 \(.*pid \d+, incarnation 0\) is gone while it ran hold: SIGKILL\n {2}line 5/)
      assert.strictEqual(yield* Effect.flip(group.failure), died)
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(group.deaths, 1)), [died])
      // The other one lives and serves.
      yield* group.at(0).broadcast.print({ stream: "stdout", text: "" })
      assert.isTrue(lives(pids[0]!))
    })))

  it.live("CO-4: SIGTERM from outside ends a worker in order and is told as what it was", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group, pids, said } = yield* start(1)
      process.kill(pids[0]!, "SIGTERM")
      const died = yield* Effect.flip(group.failure)
      assert.deepStrictEqual(died.death, { _tag: "Killed", signal: "SIGTERM" })
      assert.isTrue(said(0, "finalized"))
    })))

  it.live("CO-4: an exit is told with its code", () =>
    Effect.gen(function*() {
      const died = yield* deathIn(({ group }) => group.call.exit({ code: 3 }))
      assert.deepStrictEqual(died.death, { _tag: "Exited", code: 3 })
    }))

  it.live("CO-4: what nobody caught ends the worker with code 1, its stack on standard error", () =>
    Effect.gen(function*() {
      for (const method of ["throwLater", "rejectLater"] as const) {
        const died = yield* deathIn(({ group }) => group.call[method]())
        assert.deepStrictEqual([died.death, died.method], [{ _tag: "Exited", code: 1 }, method])
        assert.match(died.stderr.join("\n"), /Error: nobody (?:catches|awaits) this\n +at .*fixtures\/odd\.ts:\d+/)
      }
    }))

  it.live("CO-4: is told although another process still holds the worker's standard error", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group, pids } = yield* start(1)
      const holder = yield* Effect.acquireRelease(
        group.at(0).call.start({ detached: true }),
        (pid) => Effect.sync(() => process.kill(pid, "SIGKILL"))
      )
      process.kill(pids[0]!, "SIGKILL")
      const died = yield* Effect.flip(group.failure)
      assert.deepStrictEqual(died.death, { _tag: "Killed", signal: "SIGKILL" })
      assert.isTrue(lives(holder))
    })))
})
