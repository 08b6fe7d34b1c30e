/** How thorough a run is. */
import type { Sampling } from "./Sampling.ts"

/** Times are in milliseconds. */
export interface Depth {
  readonly name: "quick" | "full" | "smoke"
  /** Rounds of all systems, in another order each. */
  readonly rounds: number
  /** Calls before anything is counted, in the first round: time for the compilers on both sides, which the more workers need the longer. */
  readonly heat: Sampling["warm"]
  /** Calls that are not counted, in every later round. */
  readonly warm: Sampling["warm"]
  readonly budget: number
  /** The most calls a round and system. */
  readonly most: number
  /** Calls after a pause of two seconds, a round and system. */
  readonly wakings: number
  /** Kills a round and system. */
  readonly kills: number
}

/** Seven rounds of half a second a system and setting, after up to 8 s of heat. */
export const full: Depth = {
  name: "full",
  rounds: 7,
  heat: { calls: 20_000, most: 8000 },
  warm: { calls: 500, most: 300 },
  budget: 500,
  most: 10_000,
  wakings: 6,
  kills: 2
}

/** Five short rounds. */
export const quick: Depth = {
  name: "quick",
  rounds: 5,
  heat: { calls: 10_000, most: 2500 },
  warm: { calls: 200, most: 100 },
  budget: 120,
  most: 3000,
  wakings: 2,
  kills: 1
}

/** One round of a few calls: shows that a bench works, not what anything costs. */
export const smoke: Depth = {
  name: "smoke",
  rounds: 1,
  heat: { calls: 5, most: 1000 },
  warm: { calls: 5, most: 1000 },
  budget: 5,
  most: 20,
  wakings: 1,
  kills: 1
}

/** What a system is asked for in one round. */
export const sampling = (depth: Depth, round: number): Sampling => ({
  warm: round === 0 ? depth.heat : depth.warm,
  budget: depth.budget,
  least: 10,
  most: depth.most,
  pause: 0
})
