/** Takes the lock of a group whose driver is gone, for whoever is to be the next one. */
import { AdoptError } from "@phalanx/core/AdoptError"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as OsProcess from "../OsProcess.ts"
import type { Adopt } from "../Registry.ts"
import type * as Lock from "./lock.ts"
import * as records from "./record.ts"
import * as sweeping from "./sweeping.ts"

/** An entry, and its lock. */
export interface Claimed {
  readonly path: string
  readonly lock: Lock.Lock
}

export interface Taken {
  readonly claimed: Claimed
  /** As it was, and as it is to be. */
  readonly record: records.Record
  readonly next: records.Record
}

/** What is found where the group may be; a folder that cannot be read is none of it. */
const recordIn = (path: string): records.Record | undefined => {
  try {
    return records.read(path)
  } catch {
    return undefined
  }
}

const find = (folder: string, group: string): string | undefined =>
  (Fs.existsSync(folder) ? Fs.readdirSync(folder) : []).map((name) => Path.join(folder, name)).find((path) => recordIn(path)?.id === group)

/** Somebody who only looks at it has the lock for a moment. */
const patience = { schedule: Schedule.spaced("20 millis"), times: 10 }

/** Takes its lock. What is refused is left as it is. */
export const take = (folder: string, isMine: boolean, { dimensions, group, kept }: Adopt): Effect.Effect<Taken, AdoptError> => {
  const refuse = (reason: AdoptError["reason"], issue: string, advice: string) => new AdoptError({ group, reason, issue, advice })
  const unknown = () =>
    refuse("unknown", `there is no such group in ${folder}`, "Give its full name, with the random part; if it has ended, start another one")
  const driven = () => refuse("driven", "its driver lives", "End that one first, or leave the group to it")

  const attempt = Effect.gen(function*() {
    const path = find(folder, group)
    if (path === undefined) return yield* unknown()
    const lock = sweeping.takeLock(path)
    if (lock === "gone") return yield* recordIn(path) === undefined ? unknown() : driven()
    if (lock === "held") return yield* driven()
    const give = (error: AdoptError) => {
      lock.release()
      return error
    }
    // Somebody else may have been faster, and have ended it by now.
    const record = recordIn(path)
    if (record === undefined) return yield* give(unknown())
    const { driver, generation, keeper, mesh } = record
    const found = Object.keys(mesh)
    if (!records.mayBeAdopted(record)) {
      const advice = "Start it anew; workers outlive a driver where the option `keeper` says so, or `detachedFor` on Ray, and for as long"
      return yield* give(refuse("late", `the workers of its driver, process ${driver.pid}, have ended`, advice))
    }
    if (kept !== (keeper !== undefined)) {
      return yield* give(refuse("unknown", "its workers are another cluster's", "Adopt it on the cluster that it was made on"))
    }
    if (found.length > 0 && found.join() !== dimensions.join()) {
      return yield* give(
        refuse(
          "unlike",
          `its mesh has the dimensions ${found.join(", ")}`,
          "Adopt it with the mesh that it was made with, of whatever sizes"
        )
      )
    }
    const next = { ...record, generation: generation + 1, driver: OsProcess.of(process.pid) }
    Fs.rmSync(Path.join(path, sweeping.orphanName), { force: true })
    return { claimed: { path, lock }, record, next }
  })
  if (isMine) return Effect.fail(driven())
  return Effect.uninterruptible(attempt).pipe(
    Effect.retry({ ...patience, while: ({ reason }) => reason === "driven" })
  )
}
