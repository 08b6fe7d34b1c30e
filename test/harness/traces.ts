/**
 * What a process has left behind, read from the system and not from anybody's books.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs"

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** Whether a process runs: one that has ended and waits for its parent does not. */
export const lives = (pid: number): boolean => {
  const stat = read(`/proc/${pid}/stat`)
  return stat !== "" && stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z"
}

/** The processes that this one has started and that still run. */
export const children = (pid: number): ReadonlyArray<number> => {
  let tasks: ReadonlyArray<string> = []
  try {
    tasks = readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
  return tasks.flatMap((task) => read(`/proc/${pid}/task/${task}/children`).split(" ").filter((word) => word !== "").map(Number)).filter(
    lives
  )
}

/** The processes that run and have a word in their command line. */
export const naming = (word: string): ReadonlyArray<number> =>
  readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)).map(Number).filter((pid) =>
    read(`/proc/${pid}/cmdline`).includes(word) && lives(pid)
  )

/** The files of Phalanx that a process has open or mapped: segments, doorbells, sockets. */
export const files = (pid: number): ReadonlyArray<string> =>
  [...new Set([...read(`/proc/${pid}/maps`).matchAll(/(\/\S*phalanx-\S+)/g)].map(([path]) => path!))].filter((path) => existsSync(path))

/** How many descriptors a process has open. */
export interface Descriptors {
  readonly sockets: number
  readonly others: number
}

export const descriptors = (pid: number): Descriptors => {
  const count = { sockets: 0, others: 0 }
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      try {
        count[readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:") ? "sockets" : "others"]++
      } catch {
        // Closed meanwhile.
      }
    }
  } catch {
    // The process is gone.
  }
  return count
}
