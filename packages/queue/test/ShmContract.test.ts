import { layer } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Contract from "@phalanx/core/Contract"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Layer from "effect/Layer"

const fibers = Cluster.layerFibers.pipe(Layer.provideMerge(ShmQueues.layer))

layer(Layer.provideMerge(Contract.layerShared, fibers), { excludeTestServices: true })(
  "the contract, workers as fibers over shared memory",
  (it) => {
    for (const { name, run } of Contract.cases) it.effect(name, () => run)
  }
)
