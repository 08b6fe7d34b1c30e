/** Waiting for what the system shows, never for a time. */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

/** What was waited for did not come. */
export class Unmet extends Schema.TaggedError<Unmet>()("Unmet", { what: Schema.String, millis: Schema.Finite }) {
  override get message(): string {
    return `not within ${this.millis} ms: ${this.what}`
  }
}

/** Resolves when the condition holds. */
export const waitUntil = (what: string, holds: () => boolean, millis = 30_000): Effect.Effect<void, Unmet> =>
  Effect.sync(holds).pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("5 millis") }),
    Effect.timeoutOrElse({ duration: millis, orElse: () => Effect.fail(new Unmet({ what, millis })) }),
    Effect.asVoid
  )
