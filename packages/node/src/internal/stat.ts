/** What the kernel says of a process in one line, where there is `/proc`. */
import { existsSync, readdirSync, readFileSync } from "node:fs"

export interface Stat {
  /** `gone`: there is no such process, or it has ended and was not waited for. */
  readonly state: "running" | "sleeping" | "stopped" | "gone"
  /** Processor time that it has used. */
  readonly cpuMillis: number
  /** In clock ticks after the machine's start. */
  readonly started: number
  /** The number of its process group: that of the process that leads it, or led it. */
  readonly group: number
}

/** The kernel counts a process's time in ticks of 10 ms, whatever its own. */
export const tickMillis = 10

const states: Record<string, Stat["state"]> = { R: "running", T: "stopped", t: "stopped", Z: "gone", X: "gone" }

/** Of `/proc/PID/stat` after the name, which stands in brackets and may contain anything: state, parent, group, …, user time, system time, …, start. */
export const parse = (stat: string): Stat => {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return {
    state: states[fields[0]!] ?? "sleeping",
    cpuMillis: (Number(fields[11]) + Number(fields[12])) * tickMillis,
    started: Number(fields[19]),
    group: Number(fields[2])
  }
}

/** The process that has this number now. */
export const stat = (pid: number): Stat => {
  try {
    return parse(readFileSync(`/proc/${pid}/stat`, "latin1"))
  } catch {
    return { state: "gone", cpuMillis: 0, started: 0, group: 0 }
  }
}

/** The processes that there are. */
export const pids = (): ReadonlyArray<number> =>
  existsSync("/proc") ? readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).map(Number) : []
