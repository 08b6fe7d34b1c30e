/**
 * Looks for a bug that is put in on purpose: `hunt.ts NAME` changes the text of one shipped file as it is loaded, then runs seeds until one fails, and prints which, how many
 * it took, and why it failed.
 */
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath } from "node:url"
import { mutants } from "./mutants.ts"

const most = 2000

const name = process.argv[2]!
const mutant = mutants[name]
if (mutant === undefined) throw new Error(`there is no bug "${name}": there are ${Object.keys(mutants).join("; ")}`)

const target = new URL(`../../src/internal/${mutant.file}`, import.meta.url).href
const text = readFileSync(fileURLToPath(target), "utf8")
if (text.split(mutant.from).length !== 2) {
  throw new Error(`${mutant.file} does not have ${mutant.from} once: the bug has to be put in elsewhere`)
}

registerHooks({
  load: (url, context, next) =>
    url === target
      ? { format: "module-typescript", source: text.replace(mutant.from, () => mutant.to), shortCircuit: true }
      : next(url, context)
})

const { run } = await import("./group.ts")
for (let seed = 1; seed <= most; seed++) {
  const { violations } = run(seed)
  if (violations.length === 0) continue
  process.stdout.write(`${JSON.stringify({ seed, violations })}\n`)
  process.exit(0)
}
process.stdout.write(`${JSON.stringify({ seed: undefined, violations: [] })}\n`)
