/**
 * Chooses the next byte. Randomness is a function of (seed, position) alone, so that a byte does not depend on the batch, the rank or the
 * attempt that computed it.
 */
import * as Schema from "effect/Schema"
import { exp } from "./internal/exp.ts"

/** `temperature` 0 is greedy; above, it divides the logits. `seed` is any integer. */
export const Sampling = Schema.Struct({ temperature: Schema.Finite, seed: Schema.Int })
export type Sampling = typeof Sampling.Type

/** Greedy decoding. */
export const greedy: Sampling = { temperature: 0, seed: 0 }

/** The byte of the largest logit, the lowest byte among equals. */
export const best = (logits: ArrayLike<number>): number => {
  let byte = 0
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[byte]!) byte = i
  return byte
}

/** A number in [0, 1) that (seed, position) alone decide. */
export const uniform = (seed: number, position: number): number => {
  const high = Math.floor(seed / 0x1_0000_0000) | 0
  const word = mix(mix(mix(seed | 0) ^ high) ^ position)
  return ((word >>> 5) * 0x400_0000 + (mix(word ^ 0x9e3779b9) >>> 6)) / 0x20_0000_0000_0000
}

// Murmur's finaliser over a golden-ratio step: every bit of the input reaches every bit of the output.
const mix = (word: number): number => {
  let h = (word + 0x9e3779b9) | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/** The byte to put at `position` (byte 0 of the sequence is position 0). */
export const choose = (logits: ArrayLike<number>, sampling: Sampling, position: number): number => {
  const top = best(logits)
  if (!(sampling.temperature > 0)) return top
  const weight = (byte: number) => exp((logits[byte]! - logits[top]!) / sampling.temperature)
  let total = 0
  for (let byte = 0; byte < logits.length; byte++) total += weight(byte)
  let left = uniform(sampling.seed, position) * total
  for (let byte = 0; byte < logits.length; byte++) {
    left -= weight(byte)
    if (left < 0) return byte
  }
  return top
}
