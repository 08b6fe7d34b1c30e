/**
 * A program that looks for bugs which are put in on purpose: for each it changes the text of one shipped file, loads everything of the project's that a run needs anew, and runs seeds until
 * one fails. Prints, as JSON, which seed that was and why it failed.
 */
import type { Outcome } from "@phalanx/core/testing/Simulation"
import * as replaced from "./replaced.ts"

/** A bug. */
export interface Mutant extends replaced.Replacement {
  /** What among others must be found wrong: the label of a promise. */
  readonly shows?: string
  /** A seed by which it was found: where to look first. */
  readonly seed?: number
}

/** What became of one; without a seed it was not found. */
export interface Found {
  readonly seed?: number
  readonly violations: ReadonlyArray<string>
}

const most = 2000

const hunt = (run: (seed: number) => Outcome, first: number | undefined): Found => {
  for (let seed = 0; seed <= most; seed++) {
    const next = seed > 0 ? seed : first
    if (next === undefined) continue
    const { violations } = run(next)
    if (violations.length > 0) return { seed: next, violations }
  }
  return { violations: [] }
}

/** Looks for all bugs, or for the one that the program's first argument names. `simulation`: a module that exports what runs a seed. */
export const main = async (mutants: Readonly<Record<string, Mutant>>, simulation: URL): Promise<void> => {
  const [only] = process.argv.slice(2)
  const names = Object.keys(mutants)
  if (only !== undefined && !(only in mutants)) throw new Error(`there is no bug "${only}": there are ${names.join("; ")}`)
  const load = replaced.make(Object.values(mutants))
  const found: Record<string, Found> = {}
  for (const [index, name] of names.entries()) {
    if (only !== undefined && only !== name) continue
    const mutant = mutants[name]!
    if (replaced.places(mutant) !== 1) {
      throw new Error(`${mutant.file} does not have ${mutant.from} once: the bug has to be put in elsewhere`)
    }
    const { run }: { readonly run: (seed: number) => Outcome } = await load(simulation, index)
    found[name] = hunt(run, mutant.seed)
  }
  process.stdout.write(JSON.stringify(found), () => process.exit(0))
}
