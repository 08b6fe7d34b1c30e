import { describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Contract from "@phalanx/core/Contract"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

for (const [name, queues] of [["TCP", TcpQueues.layer], ["Unix sockets", TcpQueues.layerIpc]] as const) {
  const layer = Cluster.layerFibers.pipe(Layer.provideMerge(queues))
  describe(`the contract, workers as fibers over ${name}`, () => {
    for (const { name, run } of Contract.cases) it.live(name, () => Effect.provide(run, layer))
  })
}
