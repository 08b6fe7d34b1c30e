import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { drive } from "./fixtures/drive.ts"
import { start } from "./fixtures/start.ts"
import { eventually, filesIn, lives } from "./fixtures/system.ts"

/** Starts and ends another group of the same user. */
const startAnother = (registry: string) => Effect.scoped(start(1, { registry }))

describe("a driver's end", () => {
  it.live("CO-10 RE-1: SIGKILL of the driver takes its workers with it within a second, even one that computes; its files go with the next start", () =>
    Effect.gen(function*() {
      const { kill, output, pids, registry, segments } = yield* drive("spin")
      yield* eventually("rank 0 computes", () => output().includes("spinning"))
      assert.isTrue(pids.every(lives))
      yield* startAnother(registry)
      assert.isTrue(pids.every(lives))
      yield* kill
      assert.strictEqual(filesIn(registry).length, 1)
      assert.isAtLeast(filesIn(segments).length, 4)
      yield* startAnother(registry)
      assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  it.live("RE-1: what SIGKILL leaves of Unix sockets goes with the next start, too", () =>
    Effect.gen(function*() {
      const { kill, registry, segments } = yield* drive("runMain", "ipc")
      yield* kill
      assert.match(filesIn(segments).join(), /^phalanx-[0-9a-f]{8}-\w{6}$/)
      yield* startAnother(registry)
      assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it.live(`CO-10: ${signal} ends a driver in order, and nothing is left`, () =>
      Effect.gen(function*() {
        const { child, gone, output, registry, segments } = yield* drive("runMain")
        child.kill(signal)
        yield* eventually("the driver is gone", () => child.exitCode !== null)
        yield* gone(0)
        yield* eventually("both workers have said that they ended in order", () => output().match(/\] finalized/g)?.length === 2)
        assert.match(output(), /^\[test-\S+ 1\] finalized$/m)
        assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
      }).pipe(Effect.scoped))
  }

  it.live("CO-10: a driver that does not handle signals takes its workers with it, too", () =>
    Effect.gen(function*() {
      const { child, gone } = yield* drive("plain")
      child.kill("SIGTERM")
      yield* gone(1000)
    }).pipe(Effect.scoped))

  for (const [how, words] of [["exit", "exits"], ["throw", "dies of an error"]] as const) {
    it.live(`CO-10: a driver that ${words} in the middle takes its workers with it, too`, () =>
      Effect.flatMap(drive(how), ({ gone }) => gone(1000)).pipe(Effect.scoped))
  }
})
