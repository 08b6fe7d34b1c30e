/**
 * Numbers that look like chance and are the same for a seed. Draws made of different words are independent of each other, so that what is drawn
 * for one thing does not shift when another is left out.
 */

/** A source of numbers. Each use moves it on. */
export interface Draw {
  /** A whole number from 0 to `n - 1`. */
  readonly below: (n: number) => number
  /** A whole number from `least` to `most`, both included. */
  readonly between: (least: number, most: number) => number
  /** `true` with this probability, 0 to 1. */
  readonly chance: (probability: number) => boolean
  /** One of a list that is not empty. */
  readonly pick: <A>(from: ReadonlyArray<A>) => A
  /** One of the names, each as often as its weight says. */
  readonly weighted: <K extends string>(weights: Readonly<Record<K, number>>) => K
}

/** A draw for a seed and what it is for: `Draw.make(seed, "fault", 3)`. */
export const make = (...words: ReadonlyArray<number | string>): Draw => {
  let state = hash(words)
  // Mulberry32: one word of state, quick, and good enough to choose turns.
  const next = (): number => {
    state = state + 0x6d2b79f5 | 0
    let value = Math.imul(state ^ state >>> 15, 1 | state)
    value = value + Math.imul(value ^ value >>> 7, 61 | value) ^ value
    return (value ^ value >>> 14) >>> 0
  }
  const below = (n: number): number => next() % n
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (probability) => next() < probability * 0x100000000,
    pick: (from) => from[below(from.length)]!,
    weighted: <K extends string>(weights: Readonly<Record<K, number>>): K => {
      const entries = Object.entries(weights) as Array<[K, number]>
      let left = next() / 0x100000000 * entries.reduce((sum, [, weight]) => sum + weight, 0)
      for (const [name, weight] of entries) {
        left -= weight
        if (left < 0) return name
      }
      return entries[entries.length - 1]![0]
    }
  }
}

/** FNV-1a over the words' characters. */
const hash = (words: ReadonlyArray<number | string>): number => {
  let value = 0x811c9dc5
  for (const character of words.join(" ")) value = Math.imul(value ^ character.charCodeAt(0), 0x01000193)
  return value >>> 0
}
