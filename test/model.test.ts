import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { outcome, start } from "./harness/outcome.ts"

/** Bytes that this process has read so far, by any system call. */
const read = (): number => Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))![1])

describe("the model, in processes", () => {
  it.live(
    "MO-1 MO-4: memory, shared memory and TCP give equal bits; ranks read their own weights, and the driver reads none",
    () =>
      Effect.gen(function*() {
        const of = (dp: number, chunk: number) => Effect.scoped(Effect.flatMap(start(dp), (ranks) => outcome(ranks, chunk)))
        const memory = yield* Effect.provide(of(1, 32), Cluster.layerMemory)
        const tcp = yield* Effect.provide(of(2, 32), NodeCluster.layerWith({ transport: "tcp" }))
        assert.deepStrictEqual(tcp, memory)
        yield* Effect.gen(function*() {
          const before = read()
          const ranks = yield* start(2)
          assert.deepStrictEqual(yield* outcome(ranks, 7), memory)
          const described = yield* ranks.call.describe()
          assert.strictEqual(new Set(described.map(({ pid }) => pid)).size, 2)
          for (const { bytesRead } of described) assert.isAbove(bytesRead, 4_000_000)
          assert.isBelow(read() - before, 2_000_000)
        }).pipe(Effect.scoped, Effect.provide(NodeCluster.layerWith({ transport: "shm" })))
      }),
    60_000
  )
})
