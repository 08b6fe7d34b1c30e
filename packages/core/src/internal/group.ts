/**
 * A group's life: opens the queues, starts the ranks, waits until they serve, answers their deaths, ends with its scope.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { AdoptError } from "../AdoptError.ts"
import * as Cluster from "../Cluster.ts"
import * as GroupEvent from "../GroupEvent.ts"
import type { Membership } from "../Membership.ts"
import type * as Mesh from "../Mesh.ts"
import * as MessageQueues from "../MessageQueues.ts"
import { escalate, type Supervision } from "../Supervision.ts"
import type { SpawnError } from "../WorkerError.ts"
import * as adverbs from "./adverbs.ts"
import * as codec from "./codec.ts"
import * as elapsed from "./elapsed.ts"
import * as fanOut from "./fanOut.ts"
import { Kind, readReply } from "./frame.ts"
import * as heartbeat from "./heartbeat.ts"
import * as lifetimes from "./lives.ts"
import { randomHex } from "./random.ts"
import * as meeting from "./rendezvous.ts"
import type { Audience, Observer } from "./request.ts"
import * as rosters from "./roster.ts"
import * as snapshots from "./snapshot.ts"
import * as standbys from "./standby.ts"
import * as supervisors from "./supervisor.ts"
import * as takeovers from "./takeover.ts"

export interface Options {
  readonly mesh: Mesh.Any
  readonly entry: Cluster.Entry<any>
  readonly supervision?: Supervision<any> | undefined
  readonly restore?: ((restarted: any) => Effect.Effect<void, unknown>) | undefined
  readonly heartbeat?:
    | { readonly every?: Duration.Input; readonly frozen?: Duration.Input; readonly unresponsive?: Duration.Input }
    | false
    | undefined
  readonly name?: string | undefined
  readonly readyWithin?: Duration.Input | undefined
  readonly capacity?: number | undefined
  readonly window?: { readonly requests?: number | undefined; readonly bytes?: number | undefined } | undefined
}

/** Names of files and processes are made of it, and have limits of their own. */
const longestName = 64

const check = ({ capacity, heartbeat, name, readyWithin, window }: Options): void => {
  for (const [option, value] of Object.entries({ capacity, "window.requests": window?.requests, "window.bytes": window?.bytes })) {
    if (value !== undefined && (!Number.isInteger(value) || value < 1)) {
      throw new RangeError(`${option} must be a positive integer, not ${value}`)
    }
  }
  const { every, frozen, unresponsive } = heartbeat || {}
  const durations = { "heartbeat.every": every, "heartbeat.frozen": frozen, "heartbeat.unresponsive": unresponsive, readyWithin }
  for (const [option, value] of Object.entries(durations)) {
    if (value !== undefined && !(Duration.toMillis(value) > 0)) throw new RangeError(`${option} must be longer than nothing`)
  }
  if (name !== undefined && (!/^[a-zA-Z\d-]+$/.test(name) || name.length > longestName)) {
    throw new RangeError(`name must consist of letters, digits and -, at most ${longestName}, not be ${JSON.stringify(name)}`)
  }
}

/** News that a late listener still gets. */
const remembered = 1024

/** In a scope of its own below the caller's, so that a start that fails leaves nothing while the caller goes on. */
const contained = Effect.fnUntraced(function*<A, E, R>(start: Effect.Effect<A, E, R>) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  return yield* Effect.onError(Scope.provide(start, scope), (cause) => Scope.close(scope, Exit.failCause(cause)))
})

export const make = Effect.fn("WorkerGroup.make")((protocol: RpcGroup.RpcGroup<adverbs.Method>, options: Options) =>
  contained(start(protocol, options))
)

export const adopt = Effect.fn("WorkerGroup.adopt")(
  (protocol: RpcGroup.RpcGroup<adverbs.Method>, options: Options & { readonly group: string }) =>
    contained(Effect.gen(function*() {
      const { group, mesh } = options
      const { adopt } = yield* Cluster.Cluster
      if (adopt === undefined) {
        return yield* new AdoptError({
          group,
          reason: "late",
          issue: "this cluster hands on no group whose driver is gone",
          advice: "Start groups that are to be adopted on a cluster that keeps their workers"
        })
      }
      const former = { fenced: 0 }
      const adopted = yield* adopt({ group, dimensions: Object.keys(mesh.shape), fenced: () => void former.fenced++ })
      return yield* start(protocol, options, adopted, () => former.fenced)
    }))
)

const start = Effect.fnUntraced(function*(
  protocol: RpcGroup.RpcGroup<adverbs.Method>,
  options: Options & { readonly group?: string },
  adopted?: Cluster.Adopted,
  fencedBefore: () => number = () => 0
) {
  check(options)
  const cluster = yield* Cluster.Cluster
  const queues = yield* MessageQueues.MessageQueues
  const now = yield* elapsed.make
  const context = yield* Effect.context<never>()
  const name = options.group ?? `${options.name ?? "group"}-${yield* randomHex(4)}`
  const former = adopted === undefined ? undefined : takeovers.incarnations(adopted)
  const roster = rosters.make(options.mesh, adopted?.secret ?? (yield* randomHex(16)), former)
  const methods = [...protocol.requests.values()]
  const readyWithin = Duration.fromInputUnsafe(options.readyWithin ?? "30 seconds")
  const capacity = Math.max(options.capacity ?? 0, roster.all.length)
  // Made after what hears its frames.
  const queue: { publisher?: MessageQueues.Publisher } = {}
  const publisher = () => queue.publisher!
  const out = fanOut.make({
    publisher,
    roster,
    window: { requests: options.window?.requests ?? 64, bytes: options.window?.bytes ?? 16 * 1024 * 1024 },
    now
  })

  // ------------------------------------------------------------------------------------------------ news
  const news = yield* Effect.acquireRelease(PubSub.unbounded<GroupEvent.GroupEvent>({ replay: remembered }), PubSub.shutdown)
  const live = yield* Effect.acquireRelease(PubSub.unbounded<GroupEvent.GroupEvent>(), PubSub.shutdown)
  const events = Stream.fromPubSub(news)
  const tell = (event: GroupEvent.GroupEvent): void => {
    PubSub.publishUnsafe(news, event)
    PubSub.publishUnsafe(live, event)
    standby.look()
  }
  const currentMembership = (): Membership<string> => ({
    epoch: roster.fence.epoch,
    mesh: roster.mesh,
    members: roster.present.map((member) => {
      const process = lives.of(member)?.process
      return { id: member.id, rank: member.rank, incarnation: member.incarnation, node: process?.node ?? "", pid: process?.pid }
    })
  })

  // ------------------------------------------------------------------------------------------------ members
  // The end of all workers takes as long as the slowest one's.
  const rendezvous = meeting.make(roster, out.send)
  const stillborn = Deferred.makeUnsafe<never, SpawnError>()
  let running = false
  const afterEnd: lifetimes.Options["ended"] = (life, end) => {
    if (!running && takeover !== undefined) return Effect.sync(() => takeover.ended(life, end))
    return running || !Deferred.isDoneUnsafe(life.started)
      ? Effect.sync(() => supervisor.ended(life, end))
      : Effect.asVoid(Deferred.fail(stillborn, lives.early(life, end)))
  }
  const onEnd: lifetimes.Options["ended"] = (life, end) =>
    Effect.andThen(publisher().drain(life.member.id, life.incarnation), Effect.suspend(() => afterEnd(life, end)))
  const lives = lifetimes.make({
    group: name,
    entry: options.entry,
    cluster,
    publisher,
    roster,
    readyWithin,
    send: out.send,
    scope: yield* Scope.fork(yield* Effect.scope, "parallel"),
    ended: onEnd
  })
  const codecs = new Map(methods.map((rpc) => [rpc._tag, codec.make(rpc)]))
  const over = (audience: Audience) => adverbs.make(out, codecs, methods, audience, context)
  const present = (restores: boolean): Audience => ({
    get mesh() {
      return roster.mesh
    },
    get reached() {
      return roster.reached
    },
    get members() {
      return roster.present
    },
    get generation() {
      return roster.generation
    },
    restores
  })
  const { restore } = options
  let changed = (): void => {}
  const supervisor = yield* supervisors.make({
    policy: options.supervision ?? escalate,
    roster,
    out,
    lives,
    rendezvous,
    publisher,
    now,
    scope: yield* Effect.scope,
    restore: restore === undefined ? undefined : ({ died, rank, survivors }) => {
      const group = over(present(true))
      return Effect.provideContext(restore({ died, actor: group.at(rank), survivors, group }), context)
    },
    tell,
    changed: () => changed(),
    spoil: (died) => standby.spoil(died)
  })
  const standby = standbys.make({
    roster,
    lives,
    rendezvous,
    supervisor,
    publisher,
    capacity,
    readyWithin,
    idle: out.idle,
    over,
    tell,
    changed: () => changed()
  })

  const takeover = adopted === undefined ? undefined : takeovers.make({
    group: name,
    adopted,
    roster,
    lives,
    out,
    rendezvous,
    supervisor,
    publisher,
    readyWithin
  })

  // ------------------------------------------------------------------------------------------------ frames
  /** What each member's end of the queues said last. */
  const stats = new Map<rosters.Member, MessageQueues.Stats>()
  const run = Effect.runForkWith(context)
  const onFrame = (id: number, frame: MessageQueues.Frame): void => {
    const member = roster.all[id]!
    const message = readReply(frame, roster.fence, id, member.incarnation, member.heard)
    if (message === "stale") return void out.counters.fenced++
    if (message === "malformed") return onLost(id, "it sent a frame that is not one of the protocol's")
    member.stirred = true
    switch (message.kind) {
      case Kind.Pong:
        return void stats.set(member, message.stats)
      case Kind.Entered:
        member.heard++
        takeover?.entered(member)
        return standby.look()
      case Kind.Ready:
        return void Deferred.doneUnsafe(lives.of(member)!.started, Exit.void)
      case Kind.Failed:
        return void run(lives.refused(lives.of(member)!, message))
      case Kind.Join:
        return rendezvous.join(member, message)
      case Kind.Claimed:
        return takeover?.claimed(member, message)
      default:
        return out.receive(member, message)
    }
  }
  const onLost = (id: number, issue: string): void => {
    const life = lives.of(roster.all[id]!)
    if (life === undefined) return
    run(Effect.flatMap(lives.stderrOf(life), (stderr) => afterEnd(life, { death: { _tag: "Disconnected", issue }, stderr })))
  }

  // ------------------------------------------------------------------------------------------------ start
  const snapshot = () => snapshots.take(roster, out, lives)
  queue.publisher = yield* queues.open({
    group: name,
    secret: roster.fence.secret,
    ranks: capacity,
    receive: onFrame,
    lost: onLost,
    fenced: () => void out.counters.fenced++,
    snapshot,
    awaited: out.awaited
  })
  if (takeover !== undefined) yield* takeover.run
  else {
    yield* Effect.forEach(
      roster.all,
      (member) =>
        Effect.map(lives.begin(member), () => tell(GroupEvent.make.Ready({ rank: member.rank, incarnation: member.incarnation }))),
      { concurrency: "unbounded", discard: true }
    ).pipe(
      // One that dies when it is ready, while others are not yet, fails the start as well.
      Effect.raceFirst(Deferred.await(stillborn))
    )
  }
  running = true
  const memberships = yield* Effect.acquireRelease(SubscriptionRef.make(currentMembership()), ({ pubsub }) => PubSub.shutdown(pubsub))
  changed = () => Effect.runSyncWith(context)(SubscriptionRef.set(memberships, currentMembership()))
  // Whoever is adopted may have no process yet: all of them may have to be started again.
  const canBeSilent = adopted !== undefined || roster.all.some((member) => lives.of(member)?.process?.vitals !== undefined)
  if (options.heartbeat !== false && canBeSilent) {
    const frozen = Duration.toMillis(options.heartbeat?.frozen ?? "5 seconds")
    const settings = {
      // A worker may stop right after a beat, and is heard until the next: however seldom it is to be asked, it is found soon after its deadline.
      every: Math.min(Duration.toMillis(options.heartbeat?.every ?? Infinity), frozen / 10),
      frozen,
      unresponsive: Duration.toMillis(options.heartbeat?.unresponsive ?? "60 seconds")
    }
    yield* Effect.forkScoped(heartbeat.run({ settings, now, roster, lives, out, ended: supervisor.ended, tell }))
  }
  if (takeover !== undefined) yield* takeover.mourn
  // Added last, so run first: from here on an end is not a death, and what is open is given up before the processes are told to go.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      supervisor.close()
      out.close()
    })
  )

  const workers = () => currentMembership().members
  const group = over(present(false))
  Object.defineProperty(group, "workers", { enumerable: true, get: workers })
  return Object.assign(group, {
    protocol,
    name,
    observe: (f: Observer) =>
      Effect.acquireRelease(Effect.sync(() => out.observers.add(f)), () => Effect.sync(() => out.observers.delete(f))),
    stats: Effect.sync((): ReadonlyArray<readonly [string, MessageQueues.Stats]> => [
      ["driver", publisher().stats?.() ?? {}],
      ...roster.present.flatMap((member) => {
        const said = stats.get(member)
        return said === undefined ? [] : [[String(member.rank), said] as const]
      })
    ]),
    transport: publisher().transport,
    membership: Effect.sync(currentMembership),
    memberships: SubscriptionRef.changes(memberships),
    events,
    news: Stream.fromPubSub(live),
    deaths: Stream.flatMap(events, (event) => event._tag === "Died" ? Stream.succeed(event.died) : Stream.empty),
    prepare: standby.prepare,
    failure: supervisor.failure,
    counters: Effect.sync(() => ({ ...out.counters, fenced: out.counters.fenced + fencedBefore() })),
    snapshot: Effect.sync(snapshot),
    kill: (rank: number) => {
      if (!(rank in roster.reached.ranks)) throw new RangeError(`rank ${rank} is not among ${roster.mesh.ranks.join(", ")}`)
      return Effect.suspend(() => {
        const member = roster.present[rank]
        return member === undefined
          ? Effect.fail(roster.refusal(roster.mesh))
          : lives.of(member)?.process?.kill("SIGKILL") ?? Effect.void
      })
    }
  })
})
