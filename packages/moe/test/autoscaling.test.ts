import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Autoscaler from "@phalanx/elastic/Autoscaler"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as Autoscaling from "@phalanx/moe/Autoscaling"
import * as Generator from "@phalanx/moe/Generator"
import * as Load from "@phalanx/moe/testing/Load"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { start } from "../../../test/harness/outcome.ts"

describe("ranks that are scaled by what they have to do", () => {
  it.live("AS-1 AS-2: a generator's burst has them grow while it writes, and its end has them shrink; every text is the same", () =>
    Effect.gen(function*() {
      const ranks = yield* start(1, 1, undefined, 6)
      const generator = yield* Generator.make({ ranks, requests: 2 })
      assert.deepStrictEqual(yield* Autoscaling.load(generator), { queued: 0, tokensInFlight: 0 })
      const policy = { min: 1, max: 3, queued: 1, growAfter: "20 millis", shrinkAfter: "200 millis", coolDown: "20 millis" } as const
      yield* Effect.gen(function*() {
        const { decisions } = yield* Autoscaler.Autoscaler
        const changes = yield* Effect.forkChild(
          decisions.pipe(
            Stream.map(({ exit, from, to }) => [from, to, exit._tag]),
            Stream.takeUntil(([, to]) => to === 1),
            Stream.runCollect
          ),
          { startImmediately: true }
        )
        const texts = yield* Effect.forEach(
          Array.from({ length: 12 }, (_, n) => n),
          (n) => Effect.map(generator.generate(Load.request(n)), ({ bytes }): Load.Text => ({ n, bytes: [...bytes] })),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(yield* Load.compare(texts), 12)
        const [first, ...others] = yield* Fiber.join(changes)
        assert.deepStrictEqual(first, [1, 3, "Success"])
        assert.deepStrictEqual(others.at(-1)!.slice(1), [1, "Success"])
        assert.isTrue(others.every(([from, to]) => from! > to!), JSON.stringify(others))
        for (const { recomputed } of yield* ranks.call.usage()) assert.strictEqual(recomputed, 0)
      }).pipe(Effect.provide(Autoscaling.layer({ ranks, generator, policy, every: "5 millis", bandwidth: 1e9 })))
    }).pipe(Effect.scoped, Effect.provide([Cluster.layerMemory, Elastic.layerSqlite({ filename: ":memory:" })])))
})
