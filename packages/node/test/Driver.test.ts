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
      const { kill, output, pids, registry, segments } = yield* drive("spin", { ranks: 2 }, { ranks: 1, transport: "ipc" })
      yield* eventually("rank 0 computes", () => output().includes("spinning"))
      assert.isTrue(pids.every(lives))
      yield* startAnother(registry)
      assert.isTrue(pids.every(lives))
      yield* kill
      assert.strictEqual(filesIn(registry).length, 2)
      // The segments, and the folder of the other group's sockets.
      const left = filesIn(segments)
      assert.isAtLeast(left.length, 4 + 1)
      assert.strictEqual(left.filter((file) => /^phalanx-[0-9a-f]{8}-\w{6}$/.test(file)).length, 1)
      yield* startAnother(registry)
      assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  for (const [signal, ranks] of [["SIGINT", 2], ["SIGTERM", 1]] as const) {
    it.live(`CO-10: ${signal} ends a driver in order, and nothing is left`, () =>
      Effect.gen(function*() {
        const { child, gone, output, registry, segments } = yield* drive("runMain", { ranks })
        child.kill(signal)
        yield* eventually("the driver is gone", () => child.exitCode !== null)
        yield* gone(0)
        yield* eventually("all workers have said that they ended in order", () => output().match(/\] finalized/g)?.length === ranks)
        assert.match(output(), new RegExp(`^\\[test-\\S+ ${ranks - 1}\\] finalized$`, "m"))
        assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
      }).pipe(Effect.scoped))
  }

  it.live("CO-10: a driver that does not handle signals takes its workers with it, too", () =>
    Effect.gen(function*() {
      const { child, gone } = yield* drive("plain", { ranks: 1 })
      child.kill("SIGTERM")
      yield* gone(1000)
    }).pipe(Effect.scoped))

  for (const [how, words] of [["exit", "exits"], ["throw", "dies of an error"]] as const) {
    it.live(`CO-10: a driver that ${words} in the middle takes its workers with it, too`, () =>
      Effect.flatMap(drive(how, { ranks: 1 }), ({ gone }) => gone(1000)).pipe(Effect.scoped))
  }
})
