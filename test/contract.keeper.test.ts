import { layer } from "@effect/vitest"
import * as Contract from "@phalanx/core/Contract"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Layer from "effect/Layer"

const processes = NodeCluster.layerWith({ transport: "shm", keeper: {} })

layer(Layer.provideMerge(Contract.layerShared, processes), { excludeTestServices: true })(
  "the contract, with processes of a keeper",
  (it) => {
    for (const { name, run } of Contract.cases) it.effect(name, () => run)
  }
)
