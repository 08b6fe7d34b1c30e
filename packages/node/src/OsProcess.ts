/**
 * A process of this machine as the kernel sees it. On Linux it is named by pid and start time, so that another process which gets the
 * same number later is never mistaken for it; elsewhere only its number is known, and whether there is one.
 */
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { stat, tickMillis } from "./internal/stat.ts"

/** One life of one pid. */
export const OsProcess = Schema.Struct({
  pid: Schema.Int.check(Schema.isGreaterThan(0)),
  /** In clock ticks after the machine's start; 0 where the system does not tell. */
  started: Schema.Natural
})
export type OsProcess = typeof OsProcess.Type

/** How a process is doing. */
export const Vitals = Schema.Struct({
  /** `stopped`: it cannot run until somebody lets it. `unknown`: it is there, and the system tells no more. */
  state: Schema.Literals(["running", "sleeping", "stopped", "gone", "unknown"]),
  /** Processor time that it has used. */
  cpuMillis: Schema.Finite,
  /** Memory that it holds. */
  residentBytes: Schema.Finite,
  /** Milliseconds since 1970; 0 if unknown. */
  startedAt: Schema.Finite
})
export type Vitals = typeof Vitals.Type

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** The process that has this number now. */
export const of = (pid: number): OsProcess => ({ pid, started: stat(pid).started })

/** Whether it runs still: not if it has ended and was not waited for, nor if another process has its number. */
export const lives = ({ pid, started }: OsProcess): boolean => {
  if (started === 0) return isThere(pid)
  const now = stat(pid)
  return now.state !== "gone" && now.started === started
}

/** How it is doing. */
export const vitals = (process: OsProcess): Vitals => {
  const unknown = { state: "unknown", cpuMillis: 0, residentBytes: 0, startedAt: 0 } as const
  if (!lives(process)) return { ...unknown, state: "gone" }
  const { pid, started } = process
  if (started === 0) return unknown
  const { cpuMillis, state } = stat(pid)
  const boot = Number(/^btime (\d+)$/m.exec(read("/proc/stat"))?.[1] ?? 0)
  return {
    state,
    cpuMillis,
    residentBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024,
    startedAt: boot * 1000 + started * tickMillis
  }
}

/** Its command line, the words separated by spaces; empty if it cannot be read. */
export const commandLine = ({ pid }: OsProcess): string => read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim()
