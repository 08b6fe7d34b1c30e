/** What groups of worker processes need of a machine, one effect a check. */
import * as Registry from "@phalanx/node/Registry"
import * as Natives from "@phalanx/queue/Natives"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { accessSync, constants, existsSync, readFileSync, realpathSync, statfsSync, statSync } from "node:fs"
import { findPackageJSON } from "node:module"
import { availableParallelism, cpus, totalmem } from "node:os"
import { dirname } from "node:path"
import * as leftovers from "./leftovers.ts"
import * as units from "./units.ts"

/** `warn`: groups run, but not as well as they could, or something deserves a look. `fail`: they do not. */
export interface Finding {
  readonly name: string
  readonly status: "ok" | "warn" | "fail"
  /** What, and where. */
  readonly found: string
  /** What to do, where there is something to do. */
  readonly advice?: string
}

const ok = (name: string, found: string): Finding => ({ name, status: "ok", found })
const warn = (name: string, found: string, advice: string): Finding => ({ name, status: "warn", found, advice })
const fail = (name: string, found: string, advice: string): Finding => ({ name, status: "fail", found, advice })

type Check = Effect.Effect<ReadonlyArray<Finding>, never, Registry.Registry>

export const defaultSegments = ShmQueues.defaultFolder

/** A group as it is if nobody asks for another one. */
const defaultRanks = 4

const node: Check = Effect.sync(() => {
  const found = `${process.versions.node} at ${process.execPath}`
  return [
    Number.parseInt(process.versions.node, 10) >= 26
      ? ok("node", found)
      : fail("node", found, "Install Node 26 or newer; `pnpm install` in the project brings one along")
  ]
})

const platform: Check = Effect.sync(() => {
  const found = `${process.platform} ${process.arch}`
  const known = ["x64", "arm64"].includes(process.arch)
  if (process.platform === "linux" && known) return [ok("platform", found)]
  return [
    process.platform === "darwin" && known
      ? warn(
        "platform",
        found,
        "Queues go over Unix sockets, and a worker that computes outlives a killed driver: use Linux where that matters"
      )
      : fail("platform", found, "Use Linux or macOS on x64 or arm64")
  ]
})

const tmpfs = 0x0102_1994
const ramfs = 0x8584_58f6

const sharedMemory = (folder: string): Check =>
  Effect.sync(() => {
    const name = "shared memory"
    const { calls, collectives } = ShmQueues.need(defaultRanks)
    const need = `${defaultRanks} ranks need ${units.bytes(calls)}, and ${units.bytes(collectives)} more for collectives`
    if (process.platform !== "linux") return [ok(name, "not used on this platform")]
    const sockets = "Queues go over Unix sockets, which are slower: mount a tmpfs there, or give another folder with the option `folder`"
    if (!existsSync(folder)) return [warn(name, `${folder} is not there`, sockets)]
    try {
      accessSync(folder, constants.W_OK | constants.X_OK)
    } catch {
      return [warn(name, `${folder} may not be written to by this user`, sockets)]
    }
    const { bavail, blocks, bsize, type } = statfsSync(folder)
    const mode = statSync(folder).mode & 0o7777
    const free = bavail * bsize
    const found = `${folder}, mode ${mode.toString(8)}, ${units.bytes(free)} of ${units.bytes(blocks * bsize)} free; ${need}`
    const enlarge = `Enlarge it: \`mount -o remount,size=1G ${folder}\`; in a container \`--shm-size=1g\` or \`--ipc=host\``
    if (free < calls) return [fail(name, found, enlarge)]
    if (free < calls + collectives) return [warn(name, found, enlarge)]
    if (type !== tmpfs && type !== ramfs) {
      return [warn(name, found, "It is on a disk, not in memory: give a tmpfs with the option `folder`")]
    }
    // Without the sticky bit, any user may remove another one's files from a folder that all may write to.
    if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0) return [warn(name, found, `\`chmod 1777 ${folder}\`: others may remove its files`)]
    return [ok(name, found)]
  })

/** The soft limit of this process, as the kernel names it. */
const limit = (text: string, label: string): number => {
  const value = new RegExp(`^${label} +(\\S+)`, "m").exec(text)?.[1]
  return value === "unlimited" || value === undefined ? Infinity : Number(value)
}

const limits: Check = Effect.sync(() => {
  if (!existsSync("/proc/self/limits")) return [ok("limits", "not told by this platform")]
  const text = readFileSync("/proc/self/limits", "utf8")
  const check = (name: string, label: string, least: number, flag: string) => {
    const value = limit(text, label)
    return value >= least
      ? ok(name, value === Infinity ? "no limit" : String(value))
      : warn(name, String(value), `A group of ${defaultRanks} runs, larger ones may not start: \`ulimit ${flag} 4096\``)
  }
  // A rank takes four descriptors of its driver, and a dozen threads.
  return [check("open files", "Max open files", 1024, "-n"), check("processes", "Max processes", 1024, "-u")]
})

const natives: Check = Effect.forEach([Natives.koffi, Natives.zeromq], (native) =>
  Effect.match(native, {
    onSuccess: ({ abilities, lacks, name, version }) =>
      lacks === undefined ? ok(name, `${version}: ${abilities}`) : warn(name, `${version}: ${abilities}`, `It lacks ${lacks}`),
    onFailure: ({ advice, issue, where }) => fail(where, `does not load: ${issue}`, advice)
  }))

const versionAt = (path: string): string => JSON.parse(readFileSync(path, "utf8")).version

/** Two copies of Effect do not know each other's services and errors. */
const effect: Check = Effect.sync(() => {
  const seenFrom = ["@phalanx/core/Mesh", "@phalanx/queue/QueueFiles", "@phalanx/node/Registry"].map((module) =>
    import.meta.resolve(module)
  )
  const copies = new Set([import.meta.url, ...seenFrom].map((base) => realpathSync(findPackageJSON("effect", base)!)))
  const wanted: string = JSON.parse(readFileSync(findPackageJSON(import.meta.url)!, "utf8")).dependencies.effect
  const [path] = copies
  if (copies.size > 1) {
    return [
      fail(
        "effect",
        `${copies.size} copies: ${[...copies].map(dirname).join(", ")}`,
        "Have one version of effect in the whole project, and install again"
      )
    ]
  }
  const version = versionAt(path!)
  return [
    version === wanted
      ? ok("effect", version)
      : fail(
        "effect",
        `${version} at ${dirname(path!)}`,
        `Install effect ${wanted}: minor versions differ in the modules that Phalanx uses`
      )
  ]
})

const memory: Check = Effect.sync(() => {
  const limit = process.constrainedMemory()
  const total = totalmem()
  const bounded = limit > 0 && limit < total
  const available = process.availableMemory()
  const found = `${units.bytes(available)} available of ${units.bytes(total)}${
    bounded ? `, limited to ${units.bytes(limit)} by its control group` : ""
  }`
  // What an idle worker holds, and the driver.
  const need = (defaultRanks + 1) * 100 * 2 ** 20
  return [
    available >= need
      ? ok("memory", found)
      : warn("memory", found, `${defaultRanks} idle workers and their driver need ${units.bytes(need)}: free some, or raise the limit`)
  ]
})

const processors: Check = Effect.sync(() => {
  const usable = availableParallelism()
  const found = `${usable} of ${cpus().length} may be used`
  return [
    usable > 1
      ? ok("processors", found)
      : warn("processors", found, "Ranks take turns on one processor: give the container or the task more")
  ]
})

const run = (file: string, ...args: ReadonlyArray<string>): Effect.Effect<string | undefined> =>
  Effect.callback((resume) => {
    const child = execFile(file, [...args], { timeout: 10_000 }, (error, stdout) =>
      resume(Effect.succeed(error === null ? stdout.trim() : undefined)))
    return Effect.sync(() =>
      child.kill("SIGKILL")
    )
  })

const ray: Check = Effect.gen(function*() {
  const python = yield* run("python3", "-c", "import sys; print(sys.version.split()[0])")
  const script = "import importlib.metadata as m; print(m.version('ray'))"
  const version = python === undefined ? undefined : yield* run("python3", "-c", script)
  return [
    ok("python3", python ?? "not there, and needed for nothing but a cluster of Ray"),
    ok("ray", version ?? "not there, and needed for nothing but a cluster of Ray")
  ]
})

const registry = (segments: string, sweep: boolean): Check =>
  Effect.gen(function*() {
    const { folder, groups, sweep: sweepNow } = yield* Registry.Registry
    const swept = sweep ? yield* sweepNow : []
    const { groups: recorded, unreadable } = yield* groups
    const dead = recorded.filter(({ alive, kept }) => !alive && !kept).map(({ record }) => record.id)
    const living = recorded.length - dead.length
    const files = leftovers.find(segments, recorded.flatMap(({ record }) => record.files))
    const findings: Array<Finding> = [
      ok("registry", existsSync(folder) ? `${folder}, ${living} groups are running` : `${folder}, not made yet`)
    ]
    for (const { bytes, driver, files, group, killed } of swept) {
      findings.push(
        ok(
          "leftovers",
          `removed what driver ${driver.pid} of ${group} had left: ${files} files, ${units.bytes(bytes)}, ${killed.length} processes`
        )
      )
    }
    if (dead.length > 0) {
      findings.push(
        warn("leftovers", `of dead drivers: ${dead.join(", ")}`, "The next start removes them, and so does `phalanx doctor --sweep`")
      )
    }
    for (const { advice, issue, where } of unreadable) findings.push(warn("leftovers", `${where}: ${issue}`, advice))
    if (files.length > 0) {
      findings.push(
        warn(
          "leftovers",
          `${files.length} files in ${segments} that no recorded group and no process uses`,
          `Remove them by hand: ${files.join(" ")}`
        )
      )
    }
    return findings
  }).pipe(
    Effect.catch(({ advice, issue, where }) => Effect.succeed([fail("registry", `${where}: ${issue}`, advice)]))
  )

/** In the order in which they are shown. */
export const all = ({ segments, sweep }: { readonly segments: string; readonly sweep: boolean }): ReadonlyArray<Check> => [
  node,
  platform,
  sharedMemory(segments),
  limits,
  natives,
  effect,
  registry(segments, sweep),
  memory,
  processors,
  ray
]
