import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect, Layer, Stream } from "effect"
import { Counter } from "./worker.ts"

class Counters extends WorkerGroup.Service<Counters>()("restart/Counters", {
  protocol: Counter,
  mesh: Mesh.make({ rank: 2 }),
  entry: new URL("./worker.ts", import.meta.url),
  supervision: Supervision.restart({ max: 3, per: "1 minute" }),
  restore: ({ actor, died, group, survivors }) =>
    Effect.gen(function*() {
      const totals = yield* group.at(survivors[0]!).call.kept()
      yield* actor.call.restore({ total: totals[died.rank]! })
    })
}) {}

const program = Effect.gen(function*() {
  const counters = yield* Counters
  const totals = yield* counters.call.add(({ rank }) => ({ n: 10 * rank }))
  yield* counters.call.keep({ totals })
  yield* Console.log("totals", ...totals)

  const { pid } = counters.workers[1]!
  yield* Effect.sync(() => process.kill(pid!, "SIGKILL"))
  const [died] = yield* Stream.runCollect(Stream.take(counters.deaths, 1))
  yield* Console.log(`rank ${died!.rank} is gone: ${died!.reason}`)

  yield* Console.log("totals", ...(yield* counters.call.add({ n: 1 })))
  yield* Console.log(`rank 1 is incarnation ${counters.workers[1]!.incarnation} in another process: ${counters.workers[1]!.pid !== pid}`)
})

program.pipe(Effect.provide(Counters.layer.pipe(Layer.provide(NodeCluster.layer))), NodeRuntime.runMain)
