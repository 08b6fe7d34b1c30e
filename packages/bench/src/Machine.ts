/** What the numbers were measured on. Says nothing that names the machine. */
import { readFileSync } from "node:fs"
import * as Os from "node:os"
import process from "node:process"
import * as Proc from "./Proc.ts"

/** Processors (those that this process may use, and of how many), memory, kernel and Node's version in a line. */
export const machine = (): string => {
  const cpus = Os.cpus()
  const memory = Math.round(Os.totalmem() / 2 ** 30)
  const count = Proc.processors.length === cpus.length ? `${cpus.length}` : `${Proc.processors.length} of ${cpus.length}`
  return `${count} × ${cpus[0]?.model ?? Os.arch()}, ${memory} GiB, ${Os.type()} ${Os.release()}, Node ${process.versions.node}`
}

/** Name and version of the packages that take part. */
export const versions = (): string =>
  ["effect", "@effect/platform-node", "piscina", "zeromq"].map((name) => {
    const { version } = JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), "utf8"))
    return `${name} ${version}`
  }).join(", ")
