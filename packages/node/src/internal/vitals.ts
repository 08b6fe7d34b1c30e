/** Whether a process runs, and how much processor time it has used. */
import type { Vitals } from "@phalanx/core/Cluster"
import * as Effect from "effect/Effect"
import type { ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"

/** The kernel counts a process's time in ticks of 10 ms, whatever its own. */
const tickMillis = 10

/** Of `/proc/PID/stat` after the name, which stands in brackets and may contain anything: state, …, user time, system time. */
const parse = (stat: string): Vitals => {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const state = fields[0] === "T" || fields[0] === "t" ? "stopped" : fields[0] === "Z" || fields[0] === "X" ? "gone" : "alive"
  return { state, cpuMillis: (Number(fields[11]) + Number(fields[12])) * tickMillis }
}

/** Where there is no `/proc`, nobody can tell a frozen process from a busy one: it counts as busy. */
export const vitals = ({ pid }: ChildProcess): Effect.Effect<Vitals> =>
  Effect.sync(() => {
    if (process.platform !== "linux") return { state: "alive", cpuMillis: performance.now() }
    try {
      return parse(readFileSync(`/proc/${pid}/stat`, "latin1"))
    } catch {
      return { state: "gone", cpuMillis: 0 }
    }
  })
