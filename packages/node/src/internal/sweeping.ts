/**
 * Removes what a dead driver has left: its workers that still live and what they have started, its queues' files, its entry in the registry. A driver is dead if nobody
 * holds its lock, which the sweeper then holds until it is done, so that two sweepers never work on one entry.
 */
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as OsProcess from "../OsProcess.ts"
import { RegistryError } from "../RegistryError.ts"
import * as environment from "./environment.ts"
import * as Lock from "./lock.ts"
import * as Record from "./record.ts"
import { pids, stat } from "./stat.ts"

/** What was found of one dead driver and is gone now. */
export interface Swept {
  /** The group's name, with its random part. */
  readonly group: string
  readonly driver: OsProcess.OsProcess
  /** Processes that still lived. */
  readonly killed: ReadonlyArray<number>
  readonly files: number
  readonly bytes: number
}

export const lockName = "lock"
/** Its time is when the driver was first seen to be gone. */
export const orphanName = "orphan"

/** How long a killed process may take to be gone. */
const patience = "1 second"

/** Removes an entry of the registry, the lock last: whoever finds the entry before that finds it locked or can go on where this one ended. */
export const removeEntry = (folder: string): void => {
  for (const file of Fs.readdirSync(folder)) if (file !== lockName) Fs.rmSync(Path.join(folder, file), { force: true, recursive: true })
  Fs.rmSync(Path.join(folder, lockName), { force: true })
  removeEmpty(folder)
}

/** Several may do so at once, and somebody may be about to make something in it. */
const removeEmpty = (folder: string): void => {
  try {
    Fs.rmdirSync(folder)
  } catch (cause) {
    if (!["ENOENT", "ENOTEMPTY"].includes((cause as NodeJS.ErrnoException).code!)) throw cause
  }
}

const failure = (folder: string, issue: string, advice: string): RegistryError =>
  new RegistryError({ operation: "sweep", where: folder, issue, advice })

const attempt = <A>(folder: string, body: () => A): Effect.Effect<A, RegistryError> =>
  Effect.try({
    try: body,
    catch: (cause) =>
      failure(folder, (cause as Error).message, "Its driver is dead: remove this folder by hand, and files in /dev/shm that bear its name")
  })

/** A worker or the keeper of the group, which nobody else's process can be: by number, start and what its command line says. */
const isOf = (group: string) => (process: OsProcess.OsProcess): boolean => {
  if (process.started === 0 || !OsProcess.lives(process)) return false
  const words = OsProcess.commandLine(process)
  return words.includes("phalanx") && words.includes(group)
}

/** What the group's workers have started and left behind in their process groups. */
const startedBy = (group: string, workers: ReadonlyArray<OsProcess.OsProcess>): ReadonlyArray<OsProcess.OsProcess> => {
  const led = new Set(workers.map(({ pid }) => pid))
  return pids().filter((pid) => !led.has(pid) && led.has(stat(pid).group) && environment.names(pid, group)).map(OsProcess.of)
}

/** Ends processes of a group, which may have ended, and what they have started; tells which there still were. */
export const kill = Effect.fnUntraced(function*(folder: string, group: string, processes: ReadonlyArray<OsProcess.OsProcess>) {
  const others = processes.filter(({ pid }) => pid !== process.pid)
  const left = [...others.filter(isOf(group)), ...startedBy(group, others)]
  for (const { pid } of left) yield* Effect.ignore(Effect.try(() => process.kill(pid, "SIGKILL")))
  yield* Effect.sync(() => !left.some(OsProcess.lives)).pipe(
    Effect.repeat({ until: (gone) => gone, schedule: Schedule.spaced("2 millis") }),
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () =>
        failure(folder, `its processes ${left.map(({ pid }) => pid).join(", ")} were killed and are not gone`, "The next start tries again")
    })
  )
  return left.map(({ pid }) => pid)
})

/** Whether a group may still be adopted. Processes live in real time, whatever clock the program runs on. */
const isInGrace = (folder: string, record: Record.Record): boolean => {
  if (!Record.mayBeAdopted(record)) return false
  const orphan = Path.join(folder, orphanName)
  const seen = Fs.statSync(orphan, { throwIfNoEntry: false })
  if (seen === undefined) Fs.writeFileSync(orphan, "", { mode: 0o600 })
  return seen === undefined || performance.timeOrigin + performance.now() - seen.mtimeMs < record.graceMillis
}

const clear = Effect.fnUntraced(function*(folder: string, leavesInGrace: boolean) {
  const record = yield* attempt(folder, () => Record.read(folder))
  // Killed before it had made anything.
  if (record === undefined) return yield* Effect.as(attempt(folder, () => removeEntry(folder)), undefined)
  if (leavesInGrace && (yield* attempt(folder, () => isInGrace(folder, record)))) return undefined
  const { id, keeper, members } = record
  const killed = yield* kill(folder, id, [...members, ...(keeper === undefined ? [] : [keeper])])
  const swept = yield* Effect.forEach(
    record.files,
    (files) => Effect.mapError(QueueFiles.sweep(files), ({ advice, issue, where }) => failure(where, issue, advice))
  )
  yield* attempt(folder, () => removeEntry(folder))
  const sum = (key: "files" | "bytes") => swept.reduce((total, each) => total + each[key], 0)
  return { group: record.id, driver: record.driver, killed, files: sum("files"), bytes: sum("bytes") } satisfies Swept
})

/** Takes an entry's lock; of one whose lock somebody has removed by hand only if its driver is gone, too. */
export const takeLock = (folder: string): ReturnType<typeof Lock.take> => {
  const path = Path.join(folder, lockName)
  const lock = Lock.take(path, false)
  if (lock !== "gone") return lock
  const record = Record.read(folder)
  return record === undefined || OsProcess.lives(record.driver) ? lock : Lock.take(path, true)
}

const sweepIfDead = (folder: string, leavesInGrace: boolean): Effect.Effect<Swept | undefined, RegistryError> =>
  Effect.acquireUseRelease(
    attempt(folder, () => takeLock(folder)),
    (lock) => {
      if (lock === "held") return Effect.succeed(undefined)
      if (lock !== "gone") return clear(folder, leavesInGrace)
      // Killed before it had a lock, or being removed by somebody else.
      return Effect.as(attempt(folder, () => removeEmpty(folder)), undefined)
    },
    (lock) => Effect.sync(() => typeof lock === "object" && lock.release())
  )

/** Removes what is left of one group, if its driver is dead and its grace is over. */
export const sweep = (folder: string): Effect.Effect<Swept | undefined, RegistryError> => sweepIfDead(folder, true)

/** Removes what is left of one group, if its driver is dead. */
export const sweepNow = (folder: string): Effect.Effect<Swept | undefined, RegistryError> => sweepIfDead(folder, false)
