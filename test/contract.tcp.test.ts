import { describe, it } from "@effect/vitest"
import * as Contract from "@phalanx/core/Contract"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"

describe("the contract, with processes over tcp", () => {
  const layer = NodeCluster.layerWith({ transport: "tcp" })
  for (const { name, run } of Contract.cases) it.live(name, () => Effect.provide(run, layer))
})
