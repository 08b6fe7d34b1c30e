/** Why a group whose driver is gone cannot be taken over by another one. */
import * as Schema from "effect/Schema"

/**
 * No other driver takes the group over.
 * - `unknown`: nobody has recorded such a group; its driver ended in order, or all that it left has been removed.
 * - `driven`: its driver lives, or another one has taken it over.
 * - `late`: its workers have ended, for they do not outlive a driver, or have done so for too long.
 * - `unlike`: its mesh has other dimensions than the one given.
 * - `unclaimed`: workers live and did not answer in time; they have been ended with the group.
 */
export class AdoptError extends Schema.TaggedError<AdoptError>()("AdoptError", {
  group: Schema.String,
  reason: Schema.Literals(["unknown", "driven", "late", "unlike", "unclaimed"]),
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.group} is not adopted: ${this.issue}. ${this.advice}`
  }
}
