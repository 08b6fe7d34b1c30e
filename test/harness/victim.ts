/** Worker processes, found as anybody finds them: by what their command lines say. */
import * as Effect from "effect/Effect"
import { readdirSync, readFileSync } from "node:fs"
import { lives } from "./traces.ts"

/** One worker process. */
export interface Victim {
  readonly pid: number
  /** The group's name with its random part. */
  readonly group: string
  readonly rank: number
}

const title = /(?:^|\0| )phalanx[\0 ]([A-Za-z0-9-]+)[\0 ]rank[\0 ](\d+)/

const read = (pid: number): Victim | undefined => {
  let argv = ""
  try {
    argv = readFileSync(`/proc/${pid}/cmdline`, "latin1")
  } catch {
    return undefined
  }
  const [, group, rank] = title.exec(argv) ?? []
  return group === undefined || !lives(pid) ? undefined : { pid, group, rank: Number(rank) }
}

/** The workers of this machine that live and whose group's name begins so. */
export const find = (prefix: string): ReadonlyArray<Victim> =>
  readdirSync("/proc").flatMap((entry) => {
    const victim = /^\d+$/.test(entry) ? read(Number(entry)) : undefined
    return victim?.group.startsWith(prefix) === true ? [victim] : []
  })

const signal = (name: NodeJS.Signals) => ({ pid }: Victim): Effect.Effect<void> =>
  Effect.sync(() => {
    try {
      process.kill(pid, name)
    } catch {
      // It has ended meanwhile.
    }
  })

/** Ends it as the kernel does when memory is short: nothing of it runs any more. */
export const kill: (victim: Victim) => Effect.Effect<void> = signal("SIGKILL")

/** Stops it where it is. */
export const freeze: (victim: Victim) => Effect.Effect<void> = signal("SIGSTOP")

/** Lets it go on. */
export const thaw: (victim: Victim) => Effect.Effect<void> = signal("SIGCONT")
