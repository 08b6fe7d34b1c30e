/** The language model goes from size to size on Ray, under load, again and again: what a change leaves behind would add up. */
import * as Load from "@phalanx/moe/testing/Load"
import * as RayCluster from "@phalanx/ray/RayCluster"
import type * as RayHead from "@phalanx/ray/RayHead"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { readdirSync, readFileSync } from "node:fs"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { SystemFailed } from "../Driver.ts"
import * as Proc from "../Proc.ts"
import * as Scalings from "../Scalings.ts"
import * as Foreign from "./Foreign.ts"

export interface Options {
  readonly head: RayHead.Head
  readonly python: string
  readonly sizes: ReadonlyArray<number>
}

/** What is held at two ranks, each with a placement group and an agent of its own. Memory in bytes. */
export type Held = Readonly<Record<string, number>>

export interface Scaled {
  readonly changes: ReadonlyArray<Scalings.Change>
  readonly held: ReadonlyArray<Held>
  readonly requests: number
  readonly completed: number
  readonly identical: number
  readonly recomputed: number
}

/** So many changes, and the way back to two ranks. */
export const sizes = (changes: number): ReadonlyArray<number> => {
  const cycle = Array.from({ length: changes }, (_, index) => Scalings.round[index % Scalings.round.length]!)
  return cycle.at(-1) === Scalings.home ? cycle : [...cycle, Scalings.home]
}

/** What must not grow at all. */
export const counted = ["placement groups", "actors", "processes", "files"] as const

const Counts = Schema.fromJsonString(Schema.Struct({ actors: Schema.Int, groups: Schema.Int }))
const script = fileURLToPath(new URL("../../python/counts.py", import.meta.url))

/** Asks Ray itself, by a driver that is none of Phalanx's. */
const counter = Effect.fnUntraced(function*(options: Foreign.Options) {
  const child = yield* Foreign.start(script, options)
  const lines = createInterface({ input: child.stdout })
  return (group: string) =>
    Effect.callback<string>((resume) => {
      lines.once("line", (line) => resume(Effect.succeed(line)))
      child.stdin.write(`${group}\n`)
    }).pipe(Effect.flatMap((line) => Effect.orDie(Schema.decodeUnknownEffect(Counts)(line))))
})

/** Field of `/proc/PID/stat` by its number there, from the state on. */
const stat = (pid: number, field: number): number => {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8")
  return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[field - 3])
}
const commandLine = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
const maybe = <A>(look: () => A, gone: A): A => {
  try {
    return look()
  } catch {
    return gone
  }
}
const pids = (holds: (pid: number) => boolean): ReadonlyArray<number> =>
  readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => maybe(() => holds(pid), false))
const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length

/** All of Ray's own processes are in the session of the cluster's start, agents among them; a rank is in its own, and its agent's child. */
const processes = (rank: number, group: string) => {
  const agent = stat(rank, 4)
  const session = stat(agent, 6)
  const [bridge] = pids((pid) => stat(pid, 4) === process.pid && commandLine(pid).includes("bridge.py"))
  const [control] = pids((pid) => stat(pid, 6) === session && commandLine(pid).includes("gcs_server"))
  const ranks = pids((pid) => commandLine(pid).includes(`phalanx ${group} rank`))
  const agents = new Set(ranks.map((pid) => stat(pid, 4)))
  return { agent, bridge: bridge!, control: control!, count: agents.size + ranks.length }
}

/** Goes through the sizes. `tell` hears each change. */
export const run = Effect.fn("RayScalings.run")(
  function*({ head, python, sizes }: Options, tell: (change: Scalings.Change) => void) {
    const ask = yield* counter({ ...head, python })
    const more = (rank: number) =>
      Effect.gen(function*() {
        const group = /phalanx (\S+) rank/.exec(commandLine(rank))![1]!
        // What a change gives up is gone a moment after it; what stays is found here.
        const { actors, groups } = yield* Effect.repeat(ask(group), {
          until: ({ actors, groups }) => Math.max(actors, groups) <= Scalings.home,
          schedule: Schedule.spaced("250 millis"),
          times: 40
        })
        const { agent, bridge, control, count } = processes(rank, group)
        return {
          "placement groups": groups,
          actors,
          processes: count,
          "bridge's memory": Proc.residentBytes(bridge),
          "agent's memory": Proc.residentBytes(agent),
          "control service's memory": Proc.residentBytes(control),
          "bridge's descriptors": descriptors(bridge),
          "agent's descriptors": descriptors(agent)
        }
      })
    const cluster = (folder: string) =>
      RayCluster.layer({ ...head, python, folder, output: "ignore", progress: () => {}, placing: { rows: "dp" } })
    const { changes, held, recomputed, requests, texts } = yield* Scalings.elastic(sizes, tell, { cluster, more })
    return {
      changes,
      held: held.map(({ driver, driverDescriptors, files, more, rank, rankDescriptors }) => ({
        ...more,
        files,
        "driver's memory": driver,
        "rank's memory": rank,
        "driver's descriptors": driverDescriptors,
        "rank's descriptors": rankDescriptors
      })),
      requests,
      completed: texts.length,
      identical: yield* Load.compare(texts),
      recomputed
    } satisfies Scaled as Scaled
  },
  Effect.scoped,
  Effect.mapError((error) => new SystemFailed({ system: "phalanx", issue: error.message }))
)

/** What of it grew that must not. */
export const grown = ({ held }: Scaled): ReadonlyArray<string> =>
  counted.filter((name) => held.some((later) => later[name]! > held[0]![name]!))

const amount = (name: string, value: number): string => name.endsWith("memory") ? `${(value / 1e6).toFixed(1)} MB` : String(value)

/** In words: what was held before, when a fifth was over, and in the end. */
export const words = (scaled: Scaled): string => {
  const { changes, completed, held, identical, recomputed, requests } = scaled
  const looks = [held[0]!, held[Math.ceil((held.length - 1) / 5)]!, held.at(-1)!]
  const line = (name: string, values: ReadonlyArray<string>): string => name.padEnd(28) + values.map((value) => value.padStart(12)).join("")
  return [
    `${changes.length} changes of size on Ray under load; ${completed} of ${requests} requests completed, ${identical} identical, ${recomputed} tokens computed twice`,
    line("held by two ranks", ["before", "after a fifth", "in the end"]),
    ...Object.keys(held[0]!).map((name) => line(name, looks.map((held) => amount(name, held[name]!)))),
    grown(scaled).length === 0 ? "Nothing that is counted has grown." : `Grown: ${grown(scaled).join(", ")}.`
  ].join("\n")
}
