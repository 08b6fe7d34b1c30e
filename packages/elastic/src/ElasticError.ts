/**
 * Every way that placing experts can fail.
 */
import * as Schema from "effect/Schema"

/** Experts cannot be placed as asked. `where` names the option, or the layer and expert, in question. */
export class PlacementError extends Schema.TaggedError<PlacementError>()("PlacementError", {
  where: Schema.String,
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.where}: ${this.issue}. ${this.advice}`
  }
}

/** So many ranks cannot hold all experts in the slots that they have. */
export class CapacityError extends Schema.TaggedError<CapacityError>()("CapacityError", {
  logical: Schema.Int,
  slots: Schema.Int,
  ranks: Schema.Int,
  /** The fewest ranks that can. */
  minimum: Schema.Int
}) {
  override get message(): string {
    return `${this.ranks} ranks have ${this.slots} slots for ${this.logical} experts. Keep ${this.minimum} ranks or more`
  }
}
