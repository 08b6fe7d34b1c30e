import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as Autoscaler from "@phalanx/elastic/Autoscaler"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as Autoscaling from "@phalanx/moe/Autoscaling"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Ranks from "@phalanx/moe/Ranks"
import * as Load from "@phalanx/moe/testing/Load"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

const policy = { min: 1, max: 3, queued: 1, growAfter: "20 millis", shrinkAfter: "200 millis", coolDown: "20 millis" } as const
const serving = Autoscaling.layer({ policy, every: "5 millis" }).pipe(
  Layer.provide(ElasticRanks.layerWith({ bandwidth: 1e9 })),
  Layer.provideMerge(Generator.layerWith({ requests: 2 })),
  Layer.provideMerge(Ranks.layer({ mesh: Mesh.make({ dp: 1, tp: 1 }), capacity: 6 })),
  Layer.provide([Cluster.layerMemory, Elastic.layerSqlite({ filename: ":memory:" })])
)

describe("ranks that are scaled by what they have to do", () => {
  it.live("AS-1 AS-2: a generator's burst has them grow while it writes, and its end has them shrink; every text is the same", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Autoscaling.load, { queued: 0, tokensInFlight: 0 })
      const generator = yield* Generator.Generator
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
        Array.from({ length: 8 }, (_, n) => n),
        (n) => Effect.map(generator.generate(Load.request(n)), ({ bytes }): Load.Text => ({ n, bytes: [...bytes] })),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* Load.compare(texts), 8)
      const [first, ...others] = yield* Fiber.join(changes)
      assert.deepStrictEqual(first, [1, 3, "Success"])
      assert.deepStrictEqual(others.at(-1)!.slice(1), [1, "Success"])
      assert.isTrue(others.every(([from, to]) => from! > to!), JSON.stringify(others))
      const ranks = yield* Ranks.Ranks
      for (const { recomputed } of yield* ranks.call.usage()) assert.strictEqual(recomputed, 0)
    }).pipe(Effect.provide(serving)))
})
