/**
 * How the registry of a user's groups fails: a folder that is not the user's own, a disk that is full, a record that cannot be read.
 */
import * as Schema from "effect/Schema"

/** The registry, or one group's entry in it, cannot be used. `where` names the folder, file or socket. */
export class RegistryError extends Schema.TaggedError<RegistryError>()("RegistryError", {
  operation: Schema.String,
  where: Schema.String,
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.operation} ${this.where}: ${this.issue}. ${this.advice}`
  }
}
