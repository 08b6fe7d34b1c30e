/** How many failures within how long are answered by a restart, and how long each has to wait. */
import * as Duration from "effect/Duration"
import type { Restart } from "../Supervision.ts"
import type { Elapsed } from "./elapsed.ts"

const longestBackoff = 30_000

/** Counts a failure; how many milliseconds its restart has to wait, or `undefined` if it is one too many. */
export const make = (elapsed: Elapsed) => {
  let answered: ReadonlyArray<number> = []
  return ({ backoff, max, per }: Restart): number | undefined => {
    const now = elapsed()
    const recent = answered.filter((time) => now - time < Duration.toMillis(per))
    if (recent.length >= max) return undefined
    answered = [...recent, now]
    return recent.length === 0 ? 0 : Math.min(longestBackoff, Duration.toMillis(backoff) * 2 ** (recent.length - 1))
  }
}
