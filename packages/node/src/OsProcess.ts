/**
 * A process of this machine as the kernel sees it. On Linux it is named by pid and start time, so that another process which gets the
 * same number later is never mistaken for it; elsewhere only its number is known, and whether there is one.
 */
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"

/** One life of one pid. */
export const OsProcess = Schema.Struct({
  pid: Schema.Int.check(Schema.isGreaterThan(0)),
  /** In clock ticks after the machine's start; 0 where the system does not tell. */
  started: Schema.Int
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

/** What counts the time in `/proc`: the same on every Linux that Node runs on. */
const millisPerTick = 10

/** The words of `/proc/<pid>/stat` after the process's name, which may hold anything. None if there is no such process. */
const words = (pid: number): ReadonlyArray<string> => {
  const text = read(`/proc/${pid}/stat`)
  return text === "" ? [] : text.slice(text.lastIndexOf(")") + 2).split(" ")
}

const states: Record<string, Vitals["state"]> = { R: "running", S: "sleeping", D: "sleeping", I: "sleeping", T: "stopped", t: "stopped" }

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** The process that has this number now. */
export const of = (pid: number): OsProcess => ({ pid, started: Number(words(pid)[19] ?? 0) })

/** Whether it runs still: not if it has ended and was not waited for, nor if another process has its number. */
export const lives = (process: OsProcess): boolean => vitals(process).state !== "gone"

/** How it is doing. */
export const vitals = ({ pid, started }: OsProcess): Vitals => {
  const gone = { state: "gone", cpuMillis: 0, residentBytes: 0, startedAt: 0 } as const
  if (started === 0) return isThere(pid) ? { ...gone, state: "unknown" } : gone
  const stat = words(pid)
  const state = states[stat[0] ?? ""]
  if (state === undefined || Number(stat[19]) !== started) return gone
  const boot = Number(/^btime (\d+)$/m.exec(read("/proc/stat"))?.[1] ?? 0)
  return {
    state,
    cpuMillis: (Number(stat[11]) + Number(stat[12])) * millisPerTick,
    residentBytes: Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024,
    startedAt: boot * 1000 + started * millisPerTick
  }
}

/** Its command line, the words separated by spaces; empty if it cannot be read. */
export const commandLine = ({ pid }: OsProcess): string => read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim()
