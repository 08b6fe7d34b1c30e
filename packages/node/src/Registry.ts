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
import type { AdoptError } from "@phalanx/core/AdoptError"
import type * as Cluster from "@phalanx/core/Cluster"
import { type MessageQueues, QueueError } from "@phalanx/core/MessageQueues"
import type { Snapshot } from "@phalanx/core/Snapshot"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as adopting from "./internal/adopting.ts"
import * as Folder from "./internal/folder.ts"
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
  /** Whether its workers outlive their driver, so that another one may take them over. */
  readonly kept: boolean
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
  /** Another driver has the group: nothing here is this one's any more. */
  readonly replace: () => void
  /** Whether that is so, or somebody has removed the lock. */
  readonly isReplaced: () => boolean
  /** Notes for how many milliseconds the workers outlive this process, and whose children they are if that is a process of this machine. */
  readonly keptBy: (keeper: Record["keeper"], graceMillis: number) => Effect.Effect<void>
  /** Notes which transport carries its frames. */
  readonly carriedBy: (transport: string) => Effect.Effect<void>
  /** Notes a worker until the scope closes. */
  readonly seat: (worker: Cluster.Spawn, pid: number) => Effect.Effect<void, never, Scope.Scope>
  /** Lets one that is noted already stay until the scope closes. */
  readonly keep: (worker: Cluster.Orphan) => Effect.Effect<void, never, Scope.Scope>
}

/** A group to be taken over. */
export interface Adopt extends Cluster.Adopt {
  /** Whether its workers are a keeper's; else somebody else has them, who is asked after this. */
  readonly kept: boolean
}

/** A group that has this process for its driver now. */
export interface Adopting {
  readonly entry: Entry
  /** As its former driver had left it. */
  readonly record: Record
}

/** The registry of this user's groups. */
export class Registry extends Context.Service<Registry, {
  readonly folder: string
  /** Sweeps, then enters a group until the scope closes; entered several times by this process it is one entry, until the last scope closes. */
  readonly enter: (group: Entering) => Effect.Effect<Entry, RegistryError, Scope.Scope>
  /** Enters a group whose driver is gone, as its next one, until the scope closes; with what was recorded of it. */
  readonly adopt: (adopt: Adopt) => Effect.Effect<Adopting, AdoptError, Scope.Scope>
  /** All that is recorded, in the order of names. None where there is no registry yet. */
  readonly groups: Effect.Effect<Groups, RegistryError>
  /** Removes what dead drivers have left. What cannot be removed is logged, and tried again the next time. */
  readonly sweep: Effect.Effect<ReadonlyArray<Swept>, RegistryError>
}>()("@phalanx/node/Registry") {}

/** These queues, with each group that this process opens entered from before its first file is made. `segments` is where shared memory lies. */
export const entering = (
  queues: MessageQueues["Service"],
  segments: string | undefined
): Effect.Effect<MessageQueues["Service"], never, Registry> =>
  Effect.map(Registry, (registry) => ({
    ...queues,
    open: Effect.fnUntraced(function*(options) {
      const { group, secret, snapshot } = options
      const entry = yield* Effect.mapError(
        registry.enter({ group, secret, segments, snapshot }),
        ({ advice, issue, operation, where }) => new QueueError({ operation, where, issue, advice })
      )
      const publisher = yield* queues.open({ ...options, replaced: entry.isReplaced })
      yield* entry.carriedBy(publisher.transport)
      return publisher
    })
  }))

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
      return { folder, record, alive: lock === "held", kept: records.mayBeAdopted(record) }
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
  /** Answers who asks about the group. */
  readonly serve: (snapshot: () => Snapshot) => Effect.Effect<void>
  users: number
}

type Claimed = adopting.Claimed

/** Makes an entry and takes its lock, under another name should a sweeper have taken it for one whose driver is dead. */
const claim = (folder: string, group: string): Claimed => {
  Folder.make(folder)
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

  /** An entry with what was claimed for it, of which `first` is recorded at once. It is removed, with what `sweeps` finds, when the last user has left. */
  const hold = Effect.fnUntraced(function*({ lock, path }: Claimed, first: Record, sweeps: Effect.Effect<void>) {
    const { id: group, secret } = first
    const scope = yield* Scope.make()
    let record = first
    let snapshot: (() => Snapshot) | undefined
    let replaced = false
    const isReplaced = (): boolean => replaced || !lock.isValid()

    yield* Scope.addFinalizer(
      scope,
      Effect.suspend(() => isReplaced() ? Effect.void : Effect.andThen(sweeps, Effect.try(() => sweeping.removeEntry(path)))).pipe(
        Effect.catch((error) => Effect.logWarning(`The entry ${path} of group ${group} could not be removed`, error.cause)),
        Effect.andThen(Effect.sync(lock.release))
      )
    )

    /** Ranks and mesh are another ones after a resize, which the group knows. */
    const current = (): Record => {
      if (snapshot === undefined) return record
      const { epoch, members, mesh } = snapshot()
      // One that is being adopted does not know yet.
      if (members.length === 0) return record
      const ranks = new Map(members.map(({ id, rank }) => [id, rank]))
      return { ...record, epoch, mesh, members: record.members.map((member) => ({ ...member, rank: ranks.get(member.id) ?? -1 })) }
    }
    const change = (next: (record: Record) => Partial<Record>): Effect.Effect<void> =>
      Effect.try(() => {
        record = { ...record, ...next(record) }
        if (!isReplaced()) records.write(path, current())
      }).pipe(
        Effect.catch((error) => Effect.logWarning(`The record of group ${group} in ${path} is out of date`, error.cause))
      )
    const unseat = (id: number, incarnation: number) =>
      change(({ members }) => ({ members: members.filter((member) => member.id !== id || member.incarnation !== incarnation) }))
    const entry: Held = {
      folder: path,
      group,
      secret,
      generation: record.generation,
      scope,
      users: 1,
      isReplaced,
      replace: () => void (replaced = true),
      serve: (of) =>
        Effect.suspend(() => {
          if (snapshot !== undefined) return Effect.void
          snapshot = of
          return inquiry.serve(path, secret, of).pipe(
            Scope.provide(scope),
            Effect.catch((error) => Effect.logWarning(error.message))
          )
        }),
      keptBy: (keeper, graceMillis) => change(() => keeper === undefined ? { graceMillis } : { keeper, graceMillis }),
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
          () => unseat(id, incarnation)
        )
      },
      keep: ({ incarnation, member }) => Effect.addFinalizer(() => unseat(member, incarnation))
    }
    entries.set(group, entry)
    return entry
  })

  const open = ({ group, secret, segments }: Entering): Effect.Effect<Held, RegistryError> => {
    const record: Record = {
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
    return Effect.try({
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
    }).pipe(Effect.flatMap((claimed) => hold(claimed, record, Effect.void)), Effect.uninterruptible)
  }

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
      const entry = yield* Effect.acquireRelease(
        Effect.suspend(() => {
          const present = entries.get(entering.group)
          if (present === undefined) return open(entering)
          present.users++
          return Effect.succeed(present)
        }),
        (entry) => leave(entering.group, entry)
      )
      if (entering.snapshot !== undefined) yield* entry.serve(entering.snapshot)
      return entry
    }),
    adopt: (adopt) =>
      Effect.acquireRelease(
        Effect.gen(function*() {
          const { claimed, next, record } = yield* adopting.take(folder, entries.has(adopt.group), adopt)
          // Whatever the drivers before this one have left is its to remove.
          const sweeps = Effect.ignore(Effect.forEach(record.files, QueueFiles.sweep))
          return { entry: yield* hold(claimed, next, sweeps), record }
        }),
        ({ entry }) => leave(adopt.group, entry)
      ),
    groups: all(folder),
    sweep: sweepAll(folder)
  }
}

/** Where groups are recorded. */
export interface Options {
  /** A folder of its own, which is made with mode 0700 when the first group is entered. Default: `defaultFolder`. */
  readonly folder?: string | undefined
}

/** A registry with these options. */
export const layerWith = (options: Options): Layer.Layer<Registry> => Layer.sync(Registry, () => make(options.folder ?? defaultFolder()))

/** The registry of this user. */
export const layer: Layer.Layer<Registry> = layerWith({})
