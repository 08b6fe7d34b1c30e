import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import { Console, Effect, Layer } from "effect"
import { Adder } from "../hello/worker.ts"

class Adders extends WorkerGroup.Service<Adders>()("ray/Adders", {
  protocol: Adder,
  mesh: Mesh.make({ dp: 2, tp: 2 }),
  entry: new URL("../hello/worker.ts", import.meta.url)
}) {}

const program = Effect.gen(function*() {
  const adders = yield* Adders
  yield* adders.call.add({ n: 1 })
  yield* Console.log(yield* adders.call.add(({ coordinates }) => ({ n: 10 * coordinates.dp })))
  const { nodes, version } = yield* RayCluster.Ray
  for (const { address, free, total } of yield* nodes) {
    yield* Console.log(`Ray ${version}, node ${address}: ${total["CPU"]! - free["CPU"]!} CPUs are reserved`)
  }
})

program.pipe(Effect.provide(Adders.layer.pipe(Layer.provideMerge(RayCluster.layer()))), NodeRuntime.runMain)
