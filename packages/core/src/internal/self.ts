import * as Context from "effect/Context"
import type * as Mesh from "../Mesh.ts"

// These live here so that the engine that serves a worker and `Worker`, which names them, do not import each other.

/** What an actor knows about itself: `rank` of `worldSize`, its `mesh`, its `node`, and which life (`incarnation`) of which membership (`epoch`) this is. */
export class Self extends Context.Service<Self, {
  readonly rank: number
  readonly worldSize: number
  readonly incarnation: number
  readonly epoch: number
  readonly node: string
  readonly mesh: Mesh.Any
}>()("@phalanx/core/Worker/Self") {}

/**
 * Annotates a method that does not wait its turn: `Rpc.make(…).annotate(Worker.Concurrent, true)` may run while other calls of its rank run.
 * Default `false`. Streaming methods should have it: a stream that is not read to its end keeps its turn.
 */
export const Concurrent: Context.Reference<boolean> = Context.Reference<boolean>("@phalanx/core/Worker/Concurrent", {
  defaultValue: () => false
})
