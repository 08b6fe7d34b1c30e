import * as Context from "effect/Context"
import type * as Stream from "effect/Stream"
import type * as Mesh from "../Mesh.ts"

// These live here so that the engine that serves a worker and `Worker`, which names them, do not import each other.

/** What an actor is in one membership of its group. */
export interface Membership {
  readonly epoch: number
  readonly rank: number
  readonly mesh: Mesh.Any
}

/**
 * What an actor knows about itself: its `node`, which life of it this is (`incarnation`), its number for life (`member`), and what it is in the present membership: `rank` of `worldSize`
 * in `mesh`, in this `epoch`. A resize changes these, so read them when they are needed, or follow `changes`.
 */
export class Self extends Context.Service<Self, {
  readonly member: number
  readonly incarnation: number
  readonly node: string
  readonly rank: number
  readonly worldSize: number
  readonly epoch: number
  readonly mesh: Mesh.Any
  /** It is to join its group with the next epoch: `rank` and `mesh` are those that it is to have. */
  readonly joining: boolean
  /** The present membership, and each later one. */
  readonly changes: Stream.Stream<Membership>
}>()("@phalanx/core/Worker/Self") {}

/**
 * Annotates a method that does not wait its turn: `Rpc.make(…).annotate(Worker.Concurrent, true)` may run while other calls of its rank run.
 * Default `false`. Streaming methods should have it: a stream that is not read to its end keeps its turn.
 */
export const Concurrent: Context.Reference<boolean> = Context.Reference<boolean>("@phalanx/core/Worker/Concurrent", {
  defaultValue: () => false
})

/** The call that a handler answers, and the generation of collectives in which it was made. */
export interface Asked {
  readonly call: number
  readonly generation: number
}

/** None in a worker's layer. */
export const Asked: Context.Reference<Asked | undefined> = Context.Reference<Asked | undefined>("@phalanx/core/Asked", {
  defaultValue: () => undefined
})
