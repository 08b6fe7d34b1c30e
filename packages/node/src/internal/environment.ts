/** How whatever a worker starts is known to be its group's: by a variable that every process hands on to those that it starts. */
import { readFileSync } from "node:fs"

const variable = "PHALANX_GROUP"

/** What a worker of the group finds in its environment. */
export const of = (group: string): Readonly<Record<string, string>> => ({ [variable]: group })

/** Whether a process was started with the group's environment. */
export const names = (pid: number, group: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`${variable}=${group}`)
  } catch {
    return false
  }
}
