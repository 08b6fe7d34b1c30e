import { describe, layer } from "@effect/vitest"
import * as Contract from "@phalanx/core/Contract"
import * as Layer from "effect/Layer"
import { cluster } from "./cluster.ts"
import { transports } from "./transports.ts"

export const contract = () => {
  for (const transport of transports("tcp")) {
    describe(`the contract, over ${transport}`, () => {
      layer(Layer.provideMerge(Contract.layerShared, cluster({ transport })), { timeout: 120_000, excludeTestServices: true })((it) => {
        for (const { name, run } of Contract.cases) it.effect(name, () => run)
      })
    })
  }
}
