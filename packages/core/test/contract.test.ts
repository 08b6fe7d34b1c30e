import { describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Contract from "@phalanx/core/Contract"
import * as Effect from "effect/Effect"

describe("the contract, in memory", () => {
  for (const { name, run } of Contract.cases) it.live(name, () => Effect.provide(run, Cluster.layerMemory))
})
