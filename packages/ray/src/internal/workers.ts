/** Workers as processes that agents of Ray start, in bundles. */
import type * as Cluster from "@phalanx/core/Cluster"
import type * as Placement from "@phalanx/core/Placement"
import { SpawnError } from "@phalanx/core/WorkerError"
import * as WorkerProcess from "@phalanx/node/WorkerProcess"
import * as FlightRecording from "@phalanx/queue/FlightRecording"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { constants } from "node:os"
import { join } from "node:path"
import type { RayError } from "../RayError.ts"
import { type Bridge, Refused, type Sink } from "./bridge.ts"
import type { Link } from "./link.ts"
import type { Placing } from "./placing.ts"
import type { Place } from "./protocol.ts"
import { refusedBy } from "./reservations.ts"
import * as Reservations from "./reservations.ts"

export interface Options {
  readonly link: Link
  readonly detached: boolean
  readonly news: (text: string) => void
  readonly placing: Effect.Effect<Placing>
  readonly print: ((line: WorkerProcess.Line) => void) | undefined
  /** Milliseconds from SIGTERM to SIGKILL. */
  readonly grace: number
  /** Seconds in which an agent has to start a worker. */
  readonly within: number
  readonly env: Readonly<Record<string, string>>
  /** What workers find in their environment where their host's has nothing of that name. */
  readonly defaults: Readonly<Record<string, string>>
  readonly execArgv: ReadonlyArray<string>
  readonly node: string
  readonly cwd: string | null
  readonly away: string | null
  /** What workers need for their lanes, but for the address of their host. */
  readonly queues: WorkerProcess.Setup["queues"]
}

const signals = new Map(Object.entries(constants.signals).map(([name, number]) => [number as number, name]))

/** Hears one worker through the bridge; `replaced` is called when another driver has it. */
const listener = (group: string, rank: number, print: Options["print"], replaced: () => void) => {
  const heard = WorkerProcess.listen(group, rank, print)
  const end = Deferred.makeUnsafe<Cluster.End>()
  const sink: Sink = {
    output: (stream, text) => heard[stream].push(text),
    // Python tells a signal as its negative number.
    exit: (code, flight) => {
      const events = FlightRecording.decode(flight, WorkerProcess.flightEntries)
      const signal = code < 0 ? signals.get(-code) ?? `signal ${-code}` : null
      Deferred.doneUnsafe(end, Exit.succeed(heard.end(signal === null ? code : null, signal, events)))
    },
    lost: (issue) => {
      const death = { _tag: "Disconnected", issue } as const
      Deferred.doneUnsafe(end, Exit.succeed({ ...heard.end(0, null, []), death }))
    },
    replaced: () => {
      replaced()
      const death = { _tag: "Disconnected", issue: "another driver has taken the group over" } as const
      Deferred.doneUnsafe(end, Exit.succeed({ ...heard.end(0, null, []), death, reason: "replaced" }))
    }
  }
  return { tail: heard.tail, end, sink }
}

/** A group that outlived its driver. */
export interface Adopted {
  readonly group: string
  readonly workers: ReadonlyArray<{ readonly member: number; readonly incarnation: number; readonly process: Cluster.Process }>
  readonly end: Effect.Effect<void>
}

/** A group that is taken over from a driver that is gone, as agents know it. */
export interface Inherited {
  /** Which driver of it this is. */
  readonly driver: number
  readonly workers: ReadonlyArray<Cluster.Orphan & { readonly pid: number }>
  readonly lives: Cluster.Adopted["lives"]
}

/** The name by which the bridge and agents know a worker. */
const nameOf = ({ group, incarnation, member }: Cluster.Identity): string => `${group} ${member} ${incarnation}`
const whoIs = (name: string): { readonly member: number; readonly incarnation: number } => {
  const [member, incarnation] = name.split(" ").slice(-2).map(Number)
  return { member: member!, incarnation: incarnation! }
}

export const make = Effect.fnUntraced(function*(options: Options) {
  const { link } = options
  const reservations = yield* Reservations.make(link, options.detached, options.news)

  /** `replaced` is called when the group has another driver. */
  const spawn = Effect.fnUntraced(function*({ entry, identity }: Cluster.Spawn, replaced: () => void) {
    const refuse = (why: Pick<SpawnError, "phase" | "issue" | "advice">, node = "Ray"): SpawnError =>
      new SpawnError({ rank: identity.rank, node, entry: entry instanceof URL ? entry.href : "a worker value", stderr: [], ...why })
    const refusal = WorkerProcess.refusal(entry)
    if (refusal !== undefined || !(entry instanceof URL)) return yield* refuse(refusal!)

    const scope = yield* Scope.fork(yield* Effect.scope, "sequential")
    const worker = nameOf(identity)
    const heard = listener(identity.group, identity.rank, options.print, replaced)
    const start = Effect.fnUntraced(function*(bridge: Bridge, reservation: Reservations.Reservation, place: Place) {
      const { seat } = place
      // After the reservation, so run before it: bundles are given up when their worker has ended, and not while it has its grace.
      yield* Scope.addFinalizer(scope, Effect.ensuring(stop(worker, heard.end), Effect.sync(() => link.hear(worker, undefined))))
      link.hear(worker, heard.sink)
      return yield* bridge.ask("spawn", {
        group: reservation.name,
        bundle: seat.index,
        worker,
        owner: identity.group,
        place,
        command: WorkerProcess.command({ identity, node: options.node, execArgv: options.execArgv, ranks: seat.localWorldSize }),
        env: { ...options.env, LOCAL_RANK: String(seat.localRank), LOCAL_WORLD_SIZE: String(seat.localWorldSize) },
        defaults: options.defaults,
        cwd: options.cwd,
        away: options.away,
        line: JSON.parse(
          WorkerProcess.encode({
            entry: entry.href,
            grace: options.grace,
            identity,
            queues: options.queues,
            ...options.detached ? { kept: true } : {},
            ...filledInThere
          })
        ),
        flight: FlightRecording.size,
        files: filesOf(identity, options.queues.folder),
        timeout: options.within
      })
    })
    const started = yield* reservations.use(identity, yield* options.placing, start).pipe(
      Scope.provide(scope),
      Effect.mapError((error) => refuse({ phase: "start", ...inWords(error) }))
    )
    return process(worker, heard, started)
  })

  const process = (
    worker: string,
    heard: ReturnType<typeof listener>,
    { address, pid }: { readonly address: string; readonly pid: number }
  ): Cluster.Process => ({
    node: address,
    pid,
    end: Deferred.await(heard.end),
    stderr: Effect.sync(heard.tail),
    flight: Effect.map(
      link.tell("look", { worker }),
      (seen) => FlightRecording.decode(seen?.flight ?? new Uint8Array(), WorkerProcess.flightEntries)
    ),
    vitals: Effect.map(
      link.tell("look", { worker }),
      (seen) => seen === undefined ? { state: "unknown", cpuMillis: 0 } : WorkerProcess.vitals(seen.stat)
    ),
    kill: (signal) => Effect.asVoid(link.tell("signal", { worker, number: constants.signals[signal] }))
  })

  /** The groups that earlier drivers have left, whose workers are heard here from now on. */
  const adopt: Effect.Effect<ReadonlyArray<Adopted>, RayError> = Effect.gen(function*() {
    const bridge = yield* link.bridge
    const found = yield* Effect.mapError(bridge.ask("adopt", { groups: null }), (refused) => refusedBy("detached groups", refused))
    const adopted = found.map(({ bundles, group, workers }) => ({
      group,
      workers: workers.map((each) => {
        const { incarnation, member } = whoIs(each.worker)
        const heard = listener(group, each.place.rank, options.print, () => {})
        link.hear(each.worker, heard.sink)
        return { member, incarnation, process: process(each.worker, heard, each) }
      }),
      end: Effect.forEach(bundles, (name) => Effect.ignore(bridge.ask("release", { group: name })), {
        concurrency: "unbounded",
        discard: true
      })
    }))
    yield* Effect.ignore(bridge.ask("attend", { groups: adopted.map(({ group }) => group) }))
    return adopted
  })

  /** Takes over one group whose driver is gone; `replaced` is called when yet another one has it. */
  const inherit = Effect.fnUntraced(function*(group: string, secret: string, replaced: () => void) {
    const bridge = yield* link.bridge
    const [found] = yield* bridge.ask("adopt", { groups: [group] })
    if (found === undefined) return yield* new Refused({ code: "NoGroup", detail: "no agent of Ray's has any of its workers", nodes: [] })
    yield* reservations.adopt(found, yield* options.placing)
    const orphans = found.workers.map((each): Inherited["workers"][number] => {
      const { name, rank } = each.place
      const heard = listener(group, rank, options.print, replaced)
      link.hear(each.worker, heard.sink)
      return {
        ...whoIs(each.worker),
        rank,
        pid: each.pid,
        process: Effect.gen(function*() {
          const scope = yield* Scope.fork(yield* Effect.scope, "sequential")
          yield* Scope.provide(reservations.hold(name), scope)
          yield* Scope.addFinalizer(
            scope,
            Effect.ensuring(stop(each.worker, heard.end), Effect.sync(() => link.hear(each.worker, undefined)))
          )
          return process(each.worker, heard, each)
        }),
        claim: (claim) => Effect.asVoid(link.tell("claim", { worker: each.worker, line: WorkerProcess.encodeClaim(secret, claim) }))
      }
    })
    yield* bridge.ask("attend", { groups: [group] })
    return { driver: found.driver, workers: orphans, lives: found.lives.map(({ worker }) => whoIs(worker)) } satisfies Inherited
  })

  /** SIGTERM, the grace, SIGKILL. A bridge that does not answer is not waited for: what is left of the worker goes with its bundles. */
  const stop = (worker: string, end: Deferred.Deferred<Cluster.End>): Effect.Effect<void> =>
    Effect.suspend(() => Deferred.isDoneUnsafe(end) ? Effect.undefined : link.tell("stop", { worker, grace: options.grace / 1000 })).pipe(
      Effect.flatMap((there) => there === true ? Deferred.await(end) : Effect.undefined),
      Effect.timeoutOption(2 * options.grace + lastMillis),
      Effect.asVoid
    )

  return { spawn, adopt, inherit, bridge: link.bridge }
})

/** What the paths of all that a worker's queues make in memory begin with. */
const filesOf = ({ group, secret }: Cluster.Identity, folder?: string): string => {
  const [segments] = QueueFiles.of(group, secret, folder)
  return join(segments!.folder, segments!.prefix)
}

/** What of a worker's setup its own host knows. */
const filledInThere = { node: "" }

/** How long the news of an end may take, in milliseconds. */
const lastMillis = 1000

const inWords = (error: RayError | Placement.PlacementError | Refused): { readonly issue: string; readonly advice: string } => {
  switch (error._tag) {
    case "PlacementError":
      return { issue: error.message, advice: placementAdvice[error.reason._tag] ?? "Name other bundles, or leave the choice out" }
    case "RayError":
      return { issue: `${error.where}: ${error.issue}`, advice: error.advice }
    case "Refused":
      return {
        issue: error.detail,
        advice: error.code === "NotStarted"
          ? "Node, the worker's module and the working folder are looked for at the same paths on every host, unless the options say otherwise"
          : refusedBy("", error).advice
      }
  }
}
const placementAdvice: Partial<Record<Placement.PlacementError["reason"]["_tag"], string>> = {
  DoesNotFit: "Ask for less, choose another strategy, end what holds the rest, or give `wait` the time until there is room"
}
