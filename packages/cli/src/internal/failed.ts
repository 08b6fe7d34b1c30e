import * as CliError from "effect/cli/CliError"
import * as Schema from "effect/Schema"

/** A failure as the command line shows it: its message, and nothing of the program. */
export class Failed extends Schema.TaggedError<Failed>()("Failed", { text: Schema.String }) {
  override get message(): string {
    return this.text
  }
  override get [CliError.userMessage](): string {
    return this.text
  }
}
