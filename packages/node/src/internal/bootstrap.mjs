// The first module of a worker process. It is JavaScript because a first module in TypeScript costs every worker the loading of Node's
// type stripper (70 ms); what comes after it is taken, stripped and compiled, from the cache.
import { existsSync } from "node:fs"
import { enableCompileCache } from "node:module"
import { dirname, join } from "node:path"

/** In the nearest `node_modules`: it belongs to whoever installed it, so that nobody else can put code there. */
const cacheFolder = (folder) => {
  const modules = join(folder, "node_modules")
  if (existsSync(modules)) return join(modules, ".cache", "phalanx")
  return folder === dirname(folder) ? undefined : cacheFolder(dirname(folder))
}

const folder = cacheFolder(import.meta.dirname)
if (folder !== undefined) enableCompileCache(folder)

await import("./workerProcess.ts")
