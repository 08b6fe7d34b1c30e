/**
 * A program that looks for bugs which are put in on purpose: for each it changes the text of one shipped file, loads everything of the project's that a run needs anew, and runs seeds until
 * one fails. Prints, as JSON, which seed that was and why it failed.
 */
import type { Outcome } from "@phalanx/core/testing/Simulation"
import { readFileSync } from "node:fs"
import { registerHooks, stripTypeScriptTypes } from "node:module"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

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

/** What became of one; without a seed it was not found. */
export interface Found {
  readonly seed?: number
  readonly violations: ReadonlyArray<string>
}

const root = join(import.meta.dirname, "../..")
const ours = pathToFileURL(join(root, "packages")).href
const most = 2000

/** What a module's address bears that is loaded for one bug alone. */
const mark = "?bug="
const split = (url: string): readonly [string, string] => {
  const at = url.indexOf(mark)
  return at < 0 ? [url, ""] : [url.slice(0, at), url.slice(at)]
}

const put = (mutants: ReadonlyArray<Mutant>): void => {
  const stripped = new Map<string, string>()
  const textOf = (url: string): string => {
    const text = stripped.get(url) ?? stripTypeScriptTypes(readFileSync(new URL(url), "utf8"))
    stripped.set(url, text)
    return text
  }
  registerHooks({
    resolve: (specifier, context, next) => {
      const found = next(specifier, context)
      const [, bug] = split(context.parentURL ?? "")
      return bug === "" || !found.url.startsWith(ours) || found.url.includes("/node_modules/") ? found : { ...found, url: found.url + bug }
    },
    load: (url, context, next) => {
      const [address, bug] = split(url)
      if (bug === "") return next(url, context)
      const { file, from, to } = mutants[Number(bug.slice(mark.length))]!
      if (fileURLToPath(address) !== join(root, file)) return { format: "module", source: textOf(address), shortCircuit: true }
      const text = readFileSync(new URL(address), "utf8")
      if (text.split(from).length !== 2) throw new Error(`${file} does not have ${from} once: the bug has to be put in elsewhere`)
      return { format: "module", source: stripTypeScriptTypes(text.replace(from, () => to)), shortCircuit: true }
    }
  })
}

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
  put(Object.values(mutants))
  const found: Record<string, Found> = {}
  for (const [index, name] of names.entries()) {
    if (only !== undefined && only !== name) continue
    const { run }: { readonly run: (seed: number) => Outcome } = await import(`${simulation.href}${mark}${index}`)
    found[name] = hunt(run, mutants[name]!.seed)
  }
  process.stdout.write(JSON.stringify(found), () => process.exit(0))
}
