/** Phalanx, the whole typed call: schema, fan-out, transport, handler, reply. A group of processes on this machine over shared memory, every option its default. */
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { effects } from "../Sampling.ts"
import { buffer, small, type System, text } from "../System.ts"
import { Echo } from "../workers/Echo.ts"

const Phalanx: System = {
  start: async ({ bytes, workers }) => {
    const scope = Scope.makeUnsafe()
    const group = await Effect.runPromise(
      Effect.gen(function*() {
        const context = yield* Layer.build(NodeCluster.layer)
        return yield* Effect.provideContext(
          WorkerGroup.make(Echo, {
            mesh: Mesh.make({ dp: workers }),
            entry: new URL("../workers/echoWorker.ts", import.meta.url),
            name: "bench"
          }),
          context
        )
      }).pipe(Scope.provide(scope))
    )
    const short = bytes <= small
    const call = short ? group.call.text({ x: text(bytes) }) : group.call.bytes({ x: new Uint8Array(buffer(bytes)) })
    return {
      pids: group.workers.map(({ pid }) => pid!),
      sample: effects(workers, bytes, call, Effect.runPromise),
      hang: () => Effect.runPromise(Effect.asVoid(Effect.exit(group.at(0).call.hang()))),
      stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}
export default Phalanx
