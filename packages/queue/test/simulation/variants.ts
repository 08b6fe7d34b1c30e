/** The code that a thread's processes run: the shipped modules, or modules of their own with a bug in one of them. */
import { readFileSync } from "node:fs"
import * as Module from "node:module"
import type { Mutant } from "./mutants.ts"
import type * as Role from "./role.ts"

/** Modules that a mutant has for itself: the shipped ones that import each other, and those of the simulation that import them. */
const own = [
  ...["bell", "doorbell", "host", "layout", "poller", "requests", "ring", "shmDriver", "shmPeers", "shmWorker", "writer"].map((name) =>
    `../../src/internal/${name}.ts`
  ),
  ...["driver", "process", "role", "worker", "writers"].map((name) => `./${name}.ts`)
].map((path) => new URL(path, import.meta.url).href)

/** Their sources without types, by address: threads that have them need not strip them again for each mutant. */
export type Sources = ReadonlyMap<string, string>

export const sources = (): Sources => new Map(own.map((url) => [url, Module.stripTypeScriptTypes(readFileSync(new URL(url), "utf8"))]))

const loading = new Map<string, Mutant>()

const mutate = (source: string, { file, mutated, name, shipped }: Mutant): string => {
  if (source.split(shipped).length !== 2) throw new Error(`${file} does not have exactly once what mutant "${name}" replaces`)
  return source.replace(shipped, () => mutated)
}

const split = (url: string): readonly [string, Mutant | undefined] => {
  const [address = url, query] = url.split("?mutant=")
  return [address, query === undefined ? undefined : loading.get(decodeURIComponent(query))]
}

const hooks = (sources: Sources): Module.RegisterHooksOptions => ({
  resolve: (specifier, context, next) => {
    const resolved = next(specifier, context)
    const [, mutant] = split(context.parentURL ?? "")
    return mutant === undefined || !sources.has(resolved.url) ? resolved : { ...resolved, url: addressOf(resolved.url, mutant) }
  },
  load: (url, context, next) => {
    const [address, mutant] = split(url)
    const source = sources.get(address)
    if (mutant === undefined || source === undefined) return next(url, context)
    const isMutated = address.endsWith(`/src/internal/${mutant.file}`)
    return { format: "module", source: isMutated ? mutate(source, mutant) : source, shortCircuit: true }
  }
})

const addressOf = (url: string, { name }: Mutant): string => `${url}?mutant=${encodeURIComponent(name)}`

export const load = async (mutant: Mutant | undefined, sources: Sources): Promise<typeof Role> => {
  if (mutant === undefined) return import("./role.ts")
  if (loading.size === 0) Module.registerHooks(hooks(sources))
  loading.set(mutant.name, mutant)
  return import(addressOf("./role.ts", mutant))
}
