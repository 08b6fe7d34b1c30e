/** The code that a thread's processes run: the shipped modules, or modules of their own with a bug in one of them. */
import * as Module from "node:module"
import type { Mutant } from "./mutants.ts"
import type * as Role from "./role.ts"

/** Modules that a mutant has for itself: the shipped ones, and those of the simulation that import them. */
const own = new RegExp(
  "/packages/queue/(?:src/internal/(?:bell|doorbell|host|layout|poller|requests|ring|shmDriver|shmPeers|shmWorker|writer)"
    + "|test/simulation/(?:driver|process|role|worker|writers))\\.ts$"
)

const loading = new Map<string, Mutant>()

const nameOf = (url: string | undefined): string | undefined => {
  const name = url === undefined ? undefined : new URL(url).searchParams.get("mutant")
  return name ?? undefined
}

const hooks: Module.RegisterHooksOptions = {
  resolve: (specifier, context, next) => {
    const resolved = next(specifier, context)
    const name = nameOf(context.parentURL)
    return name === undefined || !own.test(resolved.url)
      ? resolved
      : { ...resolved, url: `${resolved.url}?mutant=${encodeURIComponent(name)}` }
  },
  load: (url, context, next) => {
    const loaded = next(url, context)
    const mutant = loading.get(nameOf(url) ?? "")
    if (mutant === undefined || !new URL(url).pathname.endsWith(`/src/internal/${mutant.file}`)) return loaded
    const text = Buffer.from(loaded.source as Uint8Array).toString()
    if (text.split(mutant.shipped).length !== 2) {
      throw new Error(`${mutant.file} does not have exactly once what mutant "${mutant.name}" replaces`)
    }
    return { ...loaded, source: text.replace(mutant.shipped, () => mutant.mutated) }
  }
}

export const load = async (mutant: Mutant | undefined): Promise<typeof Role> => {
  if (mutant === undefined) return import("./role.ts")
  if (loading.size === 0) Module.registerHooks(hooks)
  loading.set(mutant.name, mutant)
  return import(`./role.ts?mutant=${encodeURIComponent(mutant.name)}`)
}
