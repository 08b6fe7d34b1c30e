/** A group of processes that serve the language model: what starting workers costs that have weights to load. */
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { System } from "../System.ts"

const PhalanxModel: System = {
  start: async ({ workers }) => {
    const scope = Scope.makeUnsafe()
    const group = await Effect.runPromise(
      WorkerGroup.make(Moe.Moe, { name: "bench", mesh: Mesh.make({ dp: workers, tp: 1 }), entry: Moe.entry() }).pipe(
        Effect.provide(NodeCluster.layer),
        Scope.provide(scope)
      )
    )
    return {
      pids: group.workers.map(({ pid }) => pid!),
      sample: () => Promise.reject(new Error("it is only started")),
      stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}
export default PhalanxModel
