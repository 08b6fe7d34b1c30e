/**
 * How collectives fail: all of a communicator's ranks together.
 */
import * as Schema from "effect/Schema"

/** A peer died, left, was interrupted or called another operation; nothing of `operation` is to be used. */
export class CollectiveAborted extends Schema.TaggedError<CollectiveAborted>()("CollectiveAborted", {
  /** What this rank had called: `allToAll`, `allGather`, `allReduce`, `broadcast` or `barrier`. */
  operation: Schema.String,
  /** The generation of ranks it belonged to. */
  generation: Schema.Int,
  /** What happened, and to which rank. */
  issue: Schema.String
}) {
  override get message(): string {
    return `${this.operation} of generation ${this.generation} was aborted: ${this.issue}`
  }
}
