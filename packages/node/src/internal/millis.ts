/** Durations that timers of the platform wait for. */
import * as Duration from "effect/Duration"

/** A timer that is to wait longer does not wait at all. */
const longest = 2 ** 31 - 1

/** An option's duration in milliseconds. Throws a `RangeError` for one that is shorter than `least`, or that no timer can wait for. */
export const of = (option: string, input: Duration.Input, least: number): number => {
  const millis = Duration.toMillis(input)
  if (!Number.isNaN(input) && millis >= least && millis <= longest) return millis
  throw new RangeError(`${option} must be from ${least} to ${longest} milliseconds (24 days), not ${String(input)}`)
}
