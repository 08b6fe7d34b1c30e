import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Generator from "@phalanx/moe/Generator"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { mixed, outcome, start } from "./harness/outcome.ts"

/** Bytes that this process has read so far, by any system call. */
const read = (): number => Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))![1])

describe("the model, in processes", () => {
  it.live("MO-1: memory, shared memory and TCP give equal bits", () =>
    Effect.gen(function*() {
      const of = (dp: number, chunk: number) => Effect.scoped(Effect.flatMap(start(dp), (ranks) => outcome(ranks, chunk)))
      const memory = yield* Effect.provide(of(1, 32), Cluster.layerMemory)
      const shm = yield* Effect.provide(of(2, 7), NodeCluster.layerWith({ transport: "shm" }))
      const tcp = yield* Effect.provide(of(2, 32), NodeCluster.layerWith({ transport: "tcp" }))
      assert.deepStrictEqual(shm, memory)
      assert.deepStrictEqual(tcp, memory)
    }), 60_000)

  it.live("MO-4: ranks read their own weights, and the driver reads none", () =>
    Effect.gen(function*() {
      const before = read()
      const ranks = yield* start(2)
      const generator = yield* Generator.make({ ranks })
      yield* Effect.forEach(mixed.slice(0, 4), generator.generate, { concurrency: "unbounded" })
      const described = yield* ranks.call.describe()
      assert.strictEqual(new Set(described.map(({ pid }) => pid)).size, 2)
      for (const { bytesRead } of described) assert.isAbove(bytesRead, 4_000_000)
      assert.isBelow(read() - before, 2_000_000)
    }).pipe(Effect.scoped, Effect.provide(NodeCluster.layer)))
})
