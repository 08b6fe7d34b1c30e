import { describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Contract from "@phalanx/core/Contract"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const layer = Cluster.layerFibers.pipe(Layer.provideMerge(ShmQueues.layer))

describe("the contract, workers as fibers over shared memory", () => {
  for (const { name, run } of Contract.cases) it.live(name, () => Effect.provide(run, layer))
})
