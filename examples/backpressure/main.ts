import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect, Fiber, Layer } from "effect"
import { Desk } from "./worker.ts"

class Desks extends WorkerGroup.Service<Desks>()("backpressure/Desks", {
  protocol: Desk,
  mesh: Mesh.make({ rank: 2 }),
  entry: new URL("./worker.ts", import.meta.url),
  window: { requests: 4 }
}) {}

const program = Effect.gen(function*() {
  const desks = yield* Desks
  const customers = yield* Effect.forEach(
    Array.from({ length: 10 }, (_, customer) => customer),
    (customer) => Effect.forkChild(desks.at(0).call.serve({ customer }), { startImmediately: true })
  )
  const [slow] = (yield* desks.snapshot).members
  yield* Console.log(`rank 0 has ${slow!.requests} requests, and ${slow!.waiting} wait to be sent`)
  yield* Console.log(`rank 1 serves customer ${yield* desks.at(1).call.serve({ customer: 99 })} meanwhile`)

  yield* Console.log("rank 0 has served", ...(yield* Fiber.joinAll(customers)))
})

program.pipe(Effect.provide(Desks.layer.pipe(Layer.provide(NodeCluster.layer))), NodeRuntime.runMain)
