/** What a simulation and its threads say to each other. */
import type { Mutant } from "./mutants.ts"
import type { Plan } from "./plan.ts"
import type { Sources } from "./variants.ts"

/** What a thread is made with. */
export interface Given {
  readonly buffer: SharedArrayBuffer
  readonly seat: number
  /** The processor on which all threads of this simulation run; undefined: any. */
  readonly processor: number | undefined
  /** What the code under test may be; the first is the shipped one. */
  readonly variants: ReadonlyArray<Mutant | undefined>
  /** What mutants are made of, if there are any. */
  readonly sources: Sources
}

export type Ask =
  | { readonly kind: "seeds"; readonly from: number; readonly count: number; readonly variant: number; readonly stopsEarly: boolean }
  | { readonly kind: "run"; readonly seed: number; readonly variant: number }

/** What is said to the ask of this number. */
export interface Answer {
  readonly id: number
  readonly said: Outcome | Tally
}

/** How one run went. */
export interface Result {
  readonly issue: string | undefined
  readonly steps: number
  readonly switches: number
}

/** A plan, and who preempted whom when: triples of a seat, how many operations it had begun, and the seat that ran next. */
export interface Script {
  readonly plan: Plan
  readonly script: ReadonlyArray<number>
}

export interface Failure {
  /** What was not as it was promised, in the seed's own run. */
  readonly issue: string
  /** The smallest run found in which the same goes wrong, and its issue. */
  readonly shrunk: Script & { readonly issue: string }
}

/** How a seed's run went. */
export interface Outcome extends Result {
  readonly seed: number
  readonly failure: Failure | undefined
  readonly coverage: ReadonlyArray<number>
  /** What happened in the shrunk run, a line an event; of a seed that does not fail, in its own. */
  readonly trace: ReadonlyArray<string>
}

export interface Tally {
  seeds: number
  readonly failed: Array<{ readonly seed: number; readonly issue: string }>
  /** How often each fault met a process at each phase, the driver's first. */
  readonly coverage: ReadonlyArray<number>
  steps: number
  switches: number
}
