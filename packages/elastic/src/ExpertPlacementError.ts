/**
 * Why experts cannot be placed: where in the options, the load or the map.
 */
import * as Schema from "effect/Schema"

/** Experts cannot be placed as asked. `where` names the option, or the layer and expert, in question. */
export class ExpertPlacementError extends Schema.TaggedError<ExpertPlacementError>()("ExpertPlacementError", {
  where: Schema.String,
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.where}: ${this.issue}. ${this.advice}`
  }
}
