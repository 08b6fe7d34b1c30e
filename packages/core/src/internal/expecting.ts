/**
 * What cases of the contract say of what they see, without a test runner.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Schedule from "effect/Schedule"

export const equal = (actual: unknown, expected: unknown): void => {
  if (!Equal.equals(actual, expected)) throw new Error(`expected ${show(expected)}, got ${show(actual)}`)
}
const show = (value: unknown): string => value instanceof Error ? String(value) : JSON.stringify(value) ?? String(value)

/** Asks until the answer is the one awaited; a case has no other clock than this. */
export const eventually = <E>(ask: Effect.Effect<unknown, E>, awaited: unknown): Effect.Effect<void, E> =>
  ask.pipe(
    Effect.repeat({ until: (value) => Equal.equals(value, awaited), schedule: Schedule.spaced("2 millis") }),
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.flatMap(ask, (last) => Effect.die(new Error(`expected ${show(awaited)} in the end, got ${show(last)}`)))
    })
  )
