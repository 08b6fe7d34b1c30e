/**
 * Another size of a group, prepared beside the one that serves. `WorkerGroup.prepare` makes one.
 */
import * as Schema from "effect/Schema"

/**
 * How a group is to differ, in one dimension of its mesh. Members that stay keep their order. `leave` names members by id, whole slices of them; where `to` asks for fewer than stay, the last
 * slices leave, and where it asks for more, new members join behind those that stay.
 */
export interface Change<in D extends string> {
  /** Sizes; a dimension that is left out keeps its size. */
  readonly to?: { readonly [K in D]?: number | undefined } | undefined
  readonly leave?: ReadonlyArray<number> | undefined
}

/** A group cannot be as it was asked to be, or not any more: what it is that cannot, why, and what to do. */
export class StandbyError extends Schema.TaggedError<StandbyError>()("StandbyError", {
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.issue}. ${this.advice}`
  }
}
