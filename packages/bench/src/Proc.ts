/** What the kernel says of processes. Linux only. */
import { readdirSync, readFileSync } from "node:fs"
import { cpus } from "node:os"

const optional = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** The numbers of the processors that this process may run on. */
export const processors: ReadonlyArray<number> = (() => {
  const list = /^Cpus_allowed_list:\s+(\S+)/m.exec(optional("/proc/self/status"))?.[1]
  if (list === undefined) return cpus().map((_, number) => number)
  return list.split(",").flatMap((range) => {
    const [first, last = first] = range.split("-").map(Number)
    return Array.from({ length: last! - first! + 1 }, (_, index) => first! + index)
  })
})()

/** Processor time used so far by the threads of a process, in microseconds; 0 when it is gone. */
export const cpuMicros = (pid: number): number => {
  let tasks: ReadonlyArray<string> = []
  try {
    tasks = readdirSync(`/proc/${pid}/task`)
  } catch {
    return 0
  }
  return tasks.reduce((sum, task) => sum + Number(optional(`/proc/${pid}/task/${task}/schedstat`).split(" ")[0] ?? 0), 0) / 1000
}

/** Resident memory, in bytes. */
export const residentBytes = (pid: number): number => Number(/^VmRSS:\s+(\d+)/m.exec(optional(`/proc/${pid}/status`))?.[1] ?? 0) * 1024

/** Proportional share of memory without the queues' shared segments, in bytes: what the process itself costs. */
export const ownBytes = (pid: number): number => {
  let kibibytes = 0
  let counts = true
  for (const line of optional(`/proc/${pid}/smaps`).split("\n")) {
    if (/^[0-9a-f]+-/.test(line)) counts = !line.includes("/phalanx-")
    else if (counts && line.startsWith("Pss:")) kibibytes += Number(/\d+/.exec(line)![0])
  }
  return kibibytes * 1024
}

/** A point in time, for `foreign`. */
export interface Mark {
  readonly at: number
  /** Milliseconds of processor time used by everybody. */
  readonly busy: number
  /** By the processes named. */
  readonly own: number
}

/** Reads the clock and the time used so far of this process's processors, by everybody and by the processes named; in milliseconds. */
export const mark = (pids: ReadonlyArray<number>): Mark => {
  const lines = optional("/proc/stat").split("\n")
  const busy = processors.map((number) => {
    // user, nice, system, idle, iowait, irq, softirq, steal: in hundredths of a second.
    const [user, nice, system, , , irq, softirq, steal] = lines[number + 1]!.split(/\s+/).slice(1).map(Number)
    return (user! + nice! + system! + irq! + softirq! + steal!) * 10
  })
  return {
    at: performance.now(),
    busy: busy.reduce((sum, millis) => sum + millis),
    own: pids.reduce((sum, pid) => sum + cpuMicros(pid), 0) / 1000
  }
}

/** The share of the machine, 0 … 1, that others than the processes named used between two marks. */
export const foreign = (from: Mark, to: Mark): number => {
  const share = (to.busy - from.busy - (to.own - from.own)) / ((to.at - from.at) * processors.length)
  return Math.min(1, Math.max(0, share))
}
