/**
 * What drivers of this user run on this machine: one folder a group, with a record of its processes and files, a lock that lives as long as
 * the driver, and a socket at which the driver tells what it is doing. Whoever starts a group sweeps what dead drivers have left.
 *
 * - RE-1: what a killed driver has left is gone when the next group of its user has started.
 * - RE-2: a group whose driver lives is left alone, and those who sweep at once do not harm each other.
 * - RE-3: a process is killed only if its number, its start and its command line are those of a worker of that group, or if it is in such a
 *   worker's process group and its environment names the group.
 * - RE-4: a folder that is not this user's own is refused; a record that cannot be read is left as it is, with a warning.
 * - RE-5: a driver answers only who knows the group's secret.
 */
import type * as Cluster from "@phalanx/core/Cluster"
import type { Snapshot } from "@phalanx/core/Snapshot"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as inquiry from "./internal/inquiry.ts"
import * as Lock from "./internal/lock.ts"
import * as records from "./internal/record.ts"
import * as sweeping from "./internal/sweeping.ts"
import * as OsProcess from "./OsProcess.ts"
import { RegistryError } from "./RegistryError.ts"

/** What is recorded of a group. */
export type Record = records.Record

/** What is recorded of one of its workers. */
export type Member = records.Member

/** What a sweep has found of one dead driver. */
export type Swept = sweeping.Swept

/** A group as it is found in the registry. */
export interface Group {
  /** Its entry. */
  readonly folder: string
  readonly record: Record
  /** Whether its driver holds the lock. */
  readonly alive: boolean
}

/** All groups of this user, and the entries that cannot be read. */
export interface Groups {
  readonly groups: ReadonlyArray<Group>
  readonly unreadable: ReadonlyArray<RegistryError>
}

/** A group to be entered. */
export interface Entering {
  /** Its name, with its random part. */
  readonly group: string
  readonly secret: string
  /** Where its segments lie. Default `/dev/shm`. */
  readonly segments?: string | undefined
  /** What to answer to who asks about it; nobody can if there is none. */
  readonly snapshot?: (() => Snapshot) | undefined
}

/** The entry of a group of this process. */
export interface Entry {
  readonly folder: string
  readonly group: string
  readonly secret: string
  /** Which driver of the group this process is. */
  readonly generation: number
  /** Ends when the group is left. */
  readonly scope: Scope.Scope
  /** Notes the process whose children the workers are, and for how many milliseconds they outlive this one. */
  readonly keptBy: (keeper: NonNullable<Record["keeper"]>, graceMillis: number) => Effect.Effect<void>
  /** Notes which transport carries its frames. */
  readonly carriedBy: (transport: string) => Effect.Effect<void>
  /** Notes a worker until the scope closes. */
  readonly seat: (worker: Cluster.Spawn, pid: number) => Effect.Effect<void, never, Scope.Scope>
}

/** The registry of this user's groups. */
export class Registry extends Context.Service<Registry, {
  readonly folder: string
  /** Sweeps, then enters a group until the scope closes; entered several times by this process it is one entry, until the last scope closes. */
  readonly enter: (group: Entering) => Effect.Effect<Entry, RegistryError, Scope.Scope>
  /** All that is recorded, in the order of names. None where there is no registry yet. */
  readonly groups: Effect.Effect<Groups, RegistryError>
  /** Removes what dead drivers have left. What cannot be removed is logged, and tried again the next time. */
  readonly sweep: Effect.Effect<ReadonlyArray<Swept>, RegistryError>
}>()("@phalanx/node/Registry") {}

/** What the driver of a living group says of it, asked over its socket. Fails if it is busy, or does not serve. */
export const ask = ({ folder, record }: Group): Effect.Effect<Snapshot, RegistryError> => inquiry.ask(folder, record.secret)

/** `phalanx` in this user's runtime folder (`XDG_RUNTIME_DIR`) if there is one, else `phalanx-<uid>` in `/tmp`. */
export const defaultFolder = (): string => {
  const runtime = process.env["XDG_RUNTIME_DIR"] ?? ""
  return Path.isAbsolute(runtime) && Fs.existsSync(runtime)
    ? Path.join(runtime, "phalanx")
    : Path.join("/tmp", `phalanx-${process.getuid?.()}`)
}

const refuse = (folder: string, issue: string, advice: string): RegistryError =>
  new RegistryError({ operation: "use registry", where: folder, issue, advice })

const elsewhere = "let XDG_RUNTIME_DIR name another folder of this user"

/** Throws if the folder is there and not this user's alone; else tells whether it is there. */
const isThere = (folder: string): boolean => {
  const stat = Fs.lstatSync(folder, { throwIfNoEntry: false })
  if (stat === undefined) return false
  if (!stat.isDirectory()) throw refuse(folder, "it is not a folder", `Remove it, or ${elsewhere}`)
  if (stat.uid !== process.getuid?.()) throw refuse(folder, `it belongs to user ${stat.uid}`, `Have it removed, or ${elsewhere}`)
  if ((stat.mode & 0o077) === 0) return true
  const mode = (stat.mode & 0o777).toString(8)
  throw refuse(folder, `others may use it: its mode is ${mode}`, `Look into it, then \`chmod 700 ${folder}\``)
}

const refusal = (folder: string) => (cause: unknown): RegistryError =>
  cause instanceof RegistryError ? cause : refuse(folder, (cause as Error).message, `Mend what this names, or ${elsewhere}`)

/** The folders of all groups; what else lies there is none of ours. */
const entriesOf = (folder: string): Effect.Effect<ReadonlyArray<string>, RegistryError> =>
  Effect.try({
    try: () => {
      const found = isThere(folder) ? Fs.readdirSync(folder, { withFileTypes: true }) : []
      return found.filter((entry) => entry.isDirectory()).map(({ name }) => Path.join(folder, name)).sort()
    },
    catch: refusal(folder)
  })

const sweepAll = Effect.fnUntraced(function*(folder: string) {
  const swept = yield* Effect.forEach(
    yield* entriesOf(folder),
    (entry) => Effect.catch(sweeping.sweep(entry), (error) => Effect.as(Effect.logWarning(error.message), undefined))
  )
  const found = swept.filter((each) => each !== undefined)
  for (const { bytes, driver, files, group, killed } of found) {
    yield* Effect.logInfo(
      `Removed what the dead driver ${driver.pid} of group ${group} had left: ${files} files (${bytes} bytes), ${killed.length} processes`
    )
  }
  return found
})

const lookAt = (folder: string): Effect.Effect<Group | undefined, RegistryError> =>
  Effect.try({
    try: () => {
      const record = records.read(folder)
      if (record === undefined) return undefined
      const lock = Lock.take(Path.join(folder, sweeping.lockName), false)
      if (typeof lock === "object") lock.release()
      return { folder, record, alive: lock === "held" }
    },
    catch: (cause) =>
      new RegistryError({
        operation: "read record in",
        where: folder,
        issue: (cause as Error).message,
        advice: "If no driver of another version is running, remove this folder by hand"
      })
  })

const all = Effect.fnUntraced(function*(folder: string) {
  const seen = yield* Effect.forEach(yield* entriesOf(folder), (entry) => Effect.result(lookAt(entry)))
  return {
    groups: seen.flatMap((each) => each._tag === "Success" && each.success !== undefined ? [each.success] : []),
    unreadable: seen.flatMap((each) => each._tag === "Failure" ? [each.failure] : [])
  }
})

/** A name in the registry: what tells groups apart is at the end, and the path of a socket may not be long. */
const entryName = (group: string): string => group.slice(-40)

interface Held extends Entry {
  readonly scope: Scope.Closeable
  users: number
}

/** Makes an entry and takes its lock, under another name should a sweeper have taken it for one whose driver is dead. */
const claim = (folder: string, group: string): { readonly path: string; readonly lock: Lock.Lock } => {
  Fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  // Somebody else may have been faster.
  isThere(folder)
  for (let attempt = 0;; attempt++) {
    const path = Path.join(folder, attempt === 0 ? entryName(group) : `${entryName(group)}.${attempt}`)
    Fs.mkdirSync(path, { mode: 0o700 })
    const lock = Lock.take(Path.join(path, sweeping.lockName), true)
    if (typeof lock === "object") return { path, lock }
    if (attempt === 100) throw new Error("somebody else takes every lock")
  }
}

const make = (folder: string): Registry["Service"] => {
  const entries = new Map<string, Held>()

  const open = Effect.fnUntraced(function*({ group, secret, segments, snapshot }: Entering) {
    const scope = yield* Scope.make()
    let record: Record = {
      version: 1,
      id: group,
      secret,
      epoch: 0,
      generation: 0,
      driver: OsProcess.of(process.pid),
      graceMillis: 0,
      transport: "",
      files: QueueFiles.of(group, secret, segments),
      mesh: {},
      entry: "",
      members: []
    }
    const path = yield* Effect.acquireRelease(
      Effect.try({
        try: () => {
          const claimed = claim(folder, group)
          try {
            records.write(claimed.path, record)
          } catch (cause) {
            sweeping.removeEntry(claimed.path)
            claimed.lock.release()
            throw cause
          }
          return claimed
        },
        catch: refusal(folder)
      }),
      ({ lock, path }) =>
        Effect.try(() => sweeping.removeEntry(path)).pipe(
          Effect.catch((error) => Effect.logWarning(`The entry ${path} of group ${group} could not be removed`, error.cause)),
          Effect.andThen(Effect.sync(lock.release))
        )
    ).pipe(Scope.provide(scope), Effect.map(({ path }) => path))

    /** Ranks and mesh are another ones after a resize, which the group knows. */
    const current = (record: Record): Record => {
      if (snapshot === undefined) return record
      const { epoch, members, mesh } = snapshot()
      const ranks = new Map(members.map(({ id, rank }) => [id, rank]))
      return { ...record, epoch, mesh, members: record.members.map((member) => ({ ...member, rank: ranks.get(member.id) ?? member.rank })) }
    }
    const change = (next: (record: Record) => Partial<Record>): Effect.Effect<void> =>
      Effect.try(() => {
        record = { ...record, ...next(record) }
        records.write(path, current(record))
      }).pipe(
        Effect.catch((error) => Effect.logWarning(`The record of group ${group} in ${path} is out of date`, error.cause))
      )
    const entry: Held = {
      folder: path,
      group,
      secret,
      generation: record.generation,
      scope,
      users: 1,
      keptBy: (keeper, graceMillis) => change(() => ({ keeper, graceMillis })),
      carriedBy: (transport) => change(() => ({ transport })),
      seat: ({ entry, identity: { epoch, incarnation, member: id, rank, shape } }, pid) => {
        const member: Member = { id, rank, incarnation, ...OsProcess.of(pid) }
        const others = (members: ReadonlyArray<Member>) => members.filter(({ id }) => id !== member.id)
        return Effect.acquireRelease(
          change(({ members }) => ({
            epoch,
            mesh: shape,
            entry: entry instanceof URL ? entry.href : "",
            members: [...others(members), member].sort((a, b) => a.id - b.id)
          })),
          () => change(({ members }) => members.includes(member) ? { members: others(members) } : {})
        )
      }
    }
    entries.set(group, entry)
    if (snapshot !== undefined) {
      yield* inquiry.serve(path, secret, snapshot).pipe(
        Scope.provide(scope),
        Effect.catch((error) => Effect.logWarning(error.message))
      )
    }
    return entry
  })

  const leave = (group: string, entry: Held): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (--entry.users > 0) return Effect.void
      entries.delete(group)
      return Scope.close(entry.scope, Exit.void)
    })

  return {
    folder,
    enter: Effect.fnUntraced(function*(entering) {
      if (!entries.has(entering.group)) yield* sweepAll(folder)
      return yield* Effect.acquireRelease(
        Effect.suspend(() => {
          const present = entries.get(entering.group)
          if (present === undefined) return open(entering)
          present.users++
          return Effect.succeed(present)
        }),
        (entry) => leave(entering.group, entry)
      )
    }),
    groups: all(folder),
    sweep: sweepAll(folder)
  }
}

/** A registry in a folder, which is made with mode 0700 when the first group is entered. */
export const layerAt = (folder: string): Layer.Layer<Registry> => Layer.sync(Registry, () => make(folder))

/** The registry of this user. */
export const layer: Layer.Layer<Registry> = Layer.suspend(() => layerAt(defaultFolder()))
