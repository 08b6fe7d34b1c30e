import { layer } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Contract from "@phalanx/core/Contract"
import * as IpcQueues from "@phalanx/queue/IpcQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Layer from "effect/Layer"

for (const [name, queues] of [["TCP", TcpQueues.layer], ["Unix sockets", IpcQueues.layer]] as const) {
  const fibers = Cluster.layerFibers.pipe(Layer.provideMerge(queues))
  layer(Layer.provideMerge(Contract.layerShared, fibers), { excludeTestServices: true })(
    `the contract, workers as fibers over ${name}`,
    (it) => {
      for (const { name, run } of Contract.cases) it.effect(name, () => run)
    }
  )
}
