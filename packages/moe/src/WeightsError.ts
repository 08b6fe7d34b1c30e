/**
 * What can be wrong with a file of weights.
 */
import * as Schema from "effect/Schema"

/** The weights cannot be used. `where` names the tensor, the metadata field or the byte offset in question. */
export class WeightsError extends Schema.TaggedError<WeightsError>()("WeightsError", {
  file: Schema.String,
  where: Schema.String,
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.file}, ${this.where}: ${this.issue}. ${this.advice}`
  }
}
