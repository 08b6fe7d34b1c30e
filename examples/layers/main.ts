import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect } from "effect"
import { Adder } from "../hello/worker.ts"

/** Knows nothing of where its workers run. */
const program = Effect.gen(function*() {
  const adders = yield* WorkerGroup.make(Adder, {
    mesh: Mesh.make({ dp: 2 }),
    entry: new URL("../hello/worker.ts", import.meta.url)
  })
  const totals = yield* adders.call.add({ n: 1 })
  const processes = new Set(adders.workers.map(({ pid }) => pid ?? process.pid)).size
  yield* Console.log(`${adders.transport}: ${totals.join(" ")} from ${processes} process${processes === 1 ? "" : "es"}`)
}).pipe(Effect.scoped)

const main = Effect.gen(function*() {
  yield* Effect.provide(program, Cluster.layerMemory)
  yield* Effect.provide(program, NodeCluster.layerWith({ transport: "shm" }))
  yield* Effect.provide(program, NodeCluster.layerWith({ transport: "tcp" }))
})

NodeRuntime.runMain(main)
