// The first module of a worker process: it makes what follows load in half the time. It is JavaScript, for a first module in TypeScript
// costs every worker the loading of Node's type stripper (70 ms); all others come stripped and compiled out of a cache.
import { existsSync } from "node:fs"
import { enableCompileCache, registerHooks } from "node:module"
import { dirname, join } from "node:path"

// A driver that is killed while its workers load must not leave them: looked at first, and tied to before anything that takes its time.
const driver = Number(process.argv.at(-1))
if (process.ppid !== driver) process.exit(0)

/** In the nearest `node_modules`: it belongs to whoever installed that, so that nobody else can put code there. */
const cacheFolder = (folder) => {
  const modules = join(folder, "node_modules")
  if (existsSync(modules)) return join(modules, ".cache", "phalanx")
  return folder === dirname(folder) ? undefined : cacheFolder(dirname(folder))
}

const folder = cacheFolder(import.meta.dirname)
if (folder !== undefined) enableCompileCache(folder)

const { dieWith } = await import("./parentDeath.ts")
if (!dieWith(driver)) process.exit(0)

// The modules of Effect import each other 2,000 times, which Node's resolver takes 170 ms to follow. They do so by plain relative paths.
const effect = new URL(".", import.meta.resolve("effect/Effect")).href
registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith(".") && context.parentURL?.startsWith(effect)
      ? { url: new URL(specifier, context.parentURL).href, format: "module", shortCircuit: true }
      : next(specifier, context)
})

await import("./workerProcess.ts")
