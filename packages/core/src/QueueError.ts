/**
 * How queues fail: small segment folders, taken ports, handles of another transport.
 */
import * as Schema from "effect/Schema"

/** A queue could not be made, opened or used. `where` names the folder, file, segment or address. */
export class QueueError extends Schema.TaggedError<QueueError>()("QueueError", {
  operation: Schema.String,
  where: Schema.String,
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.operation} ${this.where}: ${this.issue}. ${this.advice}`
  }
}
