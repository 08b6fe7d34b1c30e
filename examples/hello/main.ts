import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect, Layer } from "effect"
import { Adder } from "./worker.ts"

class Adders extends WorkerGroup.Service<Adders>()("hello/Adders", {
  protocol: Adder,
  mesh: Mesh.make({ dp: 2, tp: 2 }),
  entry: new URL("./worker.ts", import.meta.url)
}) {}

const program = Effect.gen(function*() {
  const adders = yield* Adders
  yield* adders.call.add({ n: 1 })
  yield* Console.log(yield* adders.call.add(({ coordinates }) => ({ n: 10 * coordinates.dp })))
})

program.pipe(Effect.provide(Adders.layer.pipe(Layer.provide(NodeCluster.layer))), NodeRuntime.runMain)
