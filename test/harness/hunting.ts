/**
 * A program that looks for a bug which is put in on purpose: it changes the text of one shipped file as that is loaded, then runs seeds until one fails, and prints which and why it
 * failed.
 */
import type { Outcome } from "@phalanx/core/testing/Simulation"
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

/** A bug: text of a file, and what stands there instead. */
export interface Mutant {
  /** From the project's root. */
  readonly file: string
  readonly from: string
  readonly to: string
  /** What among others must be found wrong: the label of a promise. */
  readonly shows?: string
  /** A seed by which it was found: where to look first. */
  readonly seed?: number
}

const root = join(import.meta.dirname, "../..")
const most = 2000

/** Puts the bug in that the program's first argument names; `load` gives what runs a seed, and must not have been loaded before. */
export const main = async (
  mutants: Readonly<Record<string, Mutant>>,
  load: () => Promise<{ readonly run: (seed: number) => Outcome }>
): Promise<void> => {
  const name = process.argv[2]!
  const mutant = mutants[name]
  if (mutant === undefined) throw new Error(`there is no bug "${name}": there are ${Object.keys(mutants).join("; ")}`)

  const target = join(root, mutant.file)
  const { href } = pathToFileURL(target)
  const text = readFileSync(target, "utf8")
  if (text.split(mutant.from).length !== 2) {
    throw new Error(`${mutant.file} does not have ${mutant.from} once: the bug has to be put in elsewhere`)
  }
  registerHooks({
    load: (url, context, next) =>
      url === href
        ? { format: "module-typescript", source: text.replace(mutant.from, () => mutant.to), shortCircuit: true }
        : next(url, context)
  })

  const { run } = await load()
  const all = Array.from({ length: most }, (_, index) => index + 1)
  for (const seed of mutant.seed === undefined ? all : [mutant.seed, ...all]) {
    const { violations } = run(seed)
    if (violations.length === 0) continue
    process.stdout.write(`${JSON.stringify({ seed, violations })}\n`)
    process.exit(0)
  }
  process.stdout.write(`${JSON.stringify({ seed: undefined, violations: [] })}\n`)
}
