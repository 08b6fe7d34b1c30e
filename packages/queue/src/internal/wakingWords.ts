/** What the two ends of the measurement share: the words of their segment, and how they look at one. */
import * as Schema from "effect/Schema"
import type { MappedMemory } from "./memory.ts"

const line = 16

/** Words. The number of the round that was asked for last, and of the one that a rank has answered. */
export const asked = 0
export const askerParked = line
export const answered = (rank: number): number => line * (2 + 2 * rank)
export const parked = (rank: number): number => line * (3 + 2 * rank)
export const segmentBytes = (processes: number): number => (2 + 2 * processes) * line * 4

/** What a process is told that is to answer. */
export const Invitation = Schema.Struct({
  folder: Schema.String,
  segment: Schema.String,
  askerBell: Schema.String,
  bell: Schema.String,
  rank: Schema.Int,
  processes: Schema.Int,
  lookMillis: Schema.Finite
})
export type Invitation = typeof Invitation.Type

/** Looks for so long until a word is no longer what it was; whether it came to that. */
export const changes = (memory: MappedMemory, word: number, from: number, millis: number): boolean => {
  const end = performance.now() + millis
  do {
    if (memory.load(word) !== from) return true
  } while (performance.now() < end)
  return false
}
