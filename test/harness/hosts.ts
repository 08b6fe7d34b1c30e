/**
 * Hosts on one machine: namespaces of network, processes, names and `/dev/shm`, joined by a bridge. They need no root where the kernel lets users have
 * namespaces, and all of them end with the process that began them: nothing of them can be left.
 *
 * `enter` runs a program as host 1; the rest is for that program.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"

const spaces = ["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
/** Who is root in it needs not be root outside. */
const outer = ["--user", "--map-root-user", ...spaces]

/** Why there can be no hosts here; `undefined` if there can. */
export const obstacle = (): string | undefined => {
  const made = "mount -t tmpfs tmpfs /dev/shm && ip link add br0 type bridge && ip link add p2 type veth peer name eth0"
  const { error, status, stderr } = spawnSync("unshare", [...outer, "sh", "-c", made], { encoding: "utf8" })
  return status === 0 ? undefined : `this kernel gives users no namespaces: ${error?.message ?? stderr.trim()}`
}

/** Runs a program of Node as host 1, with a pipe to speak through. It and all hosts are gone when the scope ends. */
export const enter = (path: string, ...args: ReadonlyArray<string>): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => spawn("unshare", [...outer, process.execPath, path, ...args], { stdio: ["pipe", "pipe", "inherit"] })),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void)).kill("SIGKILL")
      })
  )

const ip = (...args: ReadonlyArray<string>): void => void execFileSync("ip", args, { stdio: "pipe" })

/** The address of a host, by its number from 1. */
export const address = (host: number): string => `10.77.0.${host}`

/** Makes this process host 1: a `/dev/shm` of its own, and the bridge that others are joined to. */
export const begin = Effect.sync(() => {
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=2g", "tmpfs", "/dev/shm"])
  execFileSync("hostname", ["host1"])
  ip("link", "set", "lo", "up")
  ip("link", "add", "br0", "type", "bridge")
  ip("addr", "add", `${address(1)}/24`, "dev", "br0")
  ip("link", "set", "br0", "up")
  // Ray asks the routing table which address of a host is its own.
  ip("route", "add", "default", "dev", "br0")
})

/** What a host does before its command: waits for its network. */
const prepare = "hostname \"$0\"; mount -t tmpfs -o size=1g tmpfs /dev/shm; " +
  "until ip addr show eth0 2>/dev/null | grep -q \"inet \"; do sleep 0.02; done; exec \"$@\""

/** Starts a host with a command as its first process; the scope's end is a power failure. */
export const start = (
  host: number,
  command: ReadonlyArray<string>,
  env: NodeJS.ProcessEnv
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn("unshare", [...spaces, "sh", "-c", prepare, `host${host}`, ...command], {
        env,
        stdio: ["pipe", "pipe", "inherit"]
      })
      const space = `/proc/${child.pid}/ns/net`
      while (readlinkSync(space) === readlinkSync("/proc/self/ns/net")) await new Promise(setImmediate)
      const inside = (...args: ReadonlyArray<string>) => execFileSync("nsenter", [`--net=${space}`, "ip", ...args])
      ip("link", "add", `p${host}`, "type", "veth", "peer", "name", "eth0", "netns", String(child.pid))
      ip("link", "set", `p${host}`, "master", "br0", "up")
      inside("link", "set", "lo", "up")
      inside("link", "set", "eth0", "up")
      inside("route", "replace", "default", "dev", "eth0")
      inside("addr", "add", `${address(host)}/24`, "dev", "eth0")
      return child
    }),
    (child) => Effect.andThen(kill(child), Effect.sync(() => unplug(host)))
  )

/** The kernel takes its time to do this by itself. */
const unplug = (host: number): void => {
  try {
    ip("link", "del", `p${host}`)
  } catch {
    // It has done so.
  }
}

/** Ends a host as a power failure does: every process, and its network with them. */
export const kill = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    // `unshare` lets SIGTERM pass by; its child goes with it.
    child.once("exit", () => resume(Effect.void)).kill("SIGKILL")
  })

/** Takes a host's link down: what is sent to it and from it is lost. */
export const cut = (host: number): Effect.Effect<void> => Effect.sync(() => ip("link", "set", `p${host}`, "down"))
/** Takes it up again. */
export const heal = (host: number): Effect.Effect<void> => Effect.sync(() => ip("link", "set", `p${host}`, "up"))

/** The processes of all hosts whose command line has all the words, by their numbers on host 1. */
export const processes = (...words: ReadonlyArray<string>): ReadonlyArray<number> =>
  readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).map(Number).filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
      const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
      return stat[stat.lastIndexOf(")") + 2] !== "Z" && words.every((word) => line.includes(word))
    } catch {
      return false
    }
  })

/** Which host's processes a process is one of. */
export const space = (pid: number): string => readlinkSync(`/proc/${pid}/ns/pid`)
