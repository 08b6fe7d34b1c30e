import { assert, describe, it, vi } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { mixed, start } from "../../../test/harness/outcome.ts"
import * as budget from "../src/internal/budget.ts"

const mebi = 2 ** 20
/** What a request takes at most. */
const request = 4 * mebi

describe("the memory for requests", () => {
  it("MO-11: is agreed by the poorest rank: half of what its machine has left, shared by the ranks there, and what it has taken already", () => {
    const rank = (node: string, free: number, taken = 0) => ({
      node,
      requests: 32,
      memory: { free: free * mebi, taken: taken * mebi, request }
    })
    assert.strictEqual(budget.agree([rank("a", 4000), rank("b", 4000)]), 32)
    assert.strictEqual(budget.agree([rank("a", 4000), rank("b", 80)]), 10)
    assert.strictEqual(budget.agree([rank("a", 4000), rank("b", 80), rank("b", 90)]), 5)
    assert.strictEqual(budget.agree([rank("a", 4000), rank("b", 80, 9), rank("b", 90, 12)]), 7)
    assert.strictEqual(budget.agree([rank("a", 4000), rank("b", 0)]), 1)
    // Whoever was told how many it takes has the memory.
    assert.strictEqual(budget.agree([{ node: "a", requests: 3 }, rank("b", 4000)]), 3)
    assert.strictEqual(budget.agree([{ node: "a", requests: 40 }, rank("b", 4000)]), 32)
  })

  it.live("MO-11: bounds the requests that run at once, and is asked for again before the number of ranks changes", () =>
    Effect.gen(function*() {
      const available = vi.spyOn(process, "availableMemory")
      yield* Effect.addFinalizer(() => Effect.sync(() => available.mockRestore()))
      available.mockReturnValue(2 * 2 * 3 * request)
      const ranks = yield* start(2, 1, undefined, 4)
      const peaks = [0, 0]
      const generator: Generator.Generator["Service"] = yield* Generator.make({
        ranks,
        onStep: () => generator.seating.running().forEach(({ length }, dp) => peaks[dp] = Math.max(peaks[dp]!, length))
      })
      const texts = yield* Effect.forkChild(Effect.forEach(mixed, generator.generate, { concurrency: "unbounded" }), {
        startImmediately: true
      })
      yield* Effect.repeat(Effect.yieldNow, { until: () => peaks.join() === "3,3" })
      available.mockReturnValue(0)
      const group = ElasticRanks.make({ ranks, generator })
      const from = yield* group.serving
      const resize = { operation: "test", request: { to: { dp: 3, tp: 1 } }, from, epoch: 1, report: () => Effect.void }
      yield* group.prepare(resize)
      yield* Effect.orDie(generator.pause("keep"))
      const refused = yield* Effect.flip(group.copy(resize))
      assert.match(refused.message, /^[4-6] requests run, and 3 owners, the poorest of which has room for 1, cannot hold them\. /)
      yield* group.abort(resize)
      yield* generator.resume
      assert.strictEqual((yield* Fiber.join(texts)).length, mixed.length)
      assert.deepStrictEqual(peaks, [3, 3])
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))
})
