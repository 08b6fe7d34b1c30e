/**
 * A group's life: opens the queues, spawns the ranks, waits until they serve, hears of deaths, ends with its scope.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Cluster from "../Cluster.ts"
import type * as Mesh from "../Mesh.ts"
import * as MessageQueues from "../MessageQueues.ts"
import type { Supervision } from "../Supervision.ts"
import { type Death, SpawnError, WorkerDied } from "../WorkerError.ts"
import * as adverbs from "./adverbs.ts"
import * as codec from "./codec.ts"
import * as fanOut from "./fanOut.ts"
import { type Fence, type FromWorker, Kind, readReply } from "./frame.ts"
import { randomHex } from "./random.ts"

export interface Options {
  readonly mesh: Mesh.Any
  readonly entry: Cluster.Entry<any>
  readonly supervision?: Supervision<any> | undefined
  readonly name?: string | undefined
  readonly readyWithin?: Duration.Input | undefined
  readonly window?: { readonly requests?: number | undefined; readonly bytes?: number | undefined } | undefined
}

/** Makes a group in a scope of its own below the caller's, so that a start that fails leaves nothing while the caller goes on. */
export const make = Effect.fn("WorkerGroup.make")(function*(protocol: RpcGroup.RpcGroup<adverbs.Method>, options: Options) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  return yield* Effect.onError(Scope.provide(start(protocol, options), scope), (cause) => Scope.close(scope, Exit.failCause(cause)))
})

const start = Effect.fnUntraced(function*(protocol: RpcGroup.RpcGroup<adverbs.Method>, options: Options) {
  const cluster = yield* Cluster.Cluster
  const queues = yield* MessageQueues.MessageQueues
  const name = `${options.name ?? "group"}-${yield* randomHex(4)}`
  const fence: Fence = { secret: yield* randomHex(16), epoch: 0 }
  const readyWithin = Duration.fromInputUnsafe(options.readyWithin ?? "30 seconds")
  const entry = options.entry instanceof URL ? options.entry.href : "a worker value"

  const members = options.mesh.ranks.map(fanOut.makeMember)
  const seats = members.map((member) => ({
    member,
    started: Deferred.makeUnsafe<void, SpawnError>(),
    process: undefined as Cluster.Process | undefined
  }))
  const methods = [...protocol.requests.values()]
  // Made after what hears its frames.
  const queue: { publisher?: MessageQueues.Publisher } = {}
  const out = fanOut.make({
    publisher: () => queue.publisher!,
    members,
    fence,
    window: { requests: options.window?.requests ?? 64, bytes: options.window?.bytes ?? 16 * 1024 * 1024 }
  })
  let closing = false

  // ------------------------------------------------------------------------------------------------ deaths
  const news = yield* Effect.acquireRelease(PubSub.unbounded<WorkerDied>({ replay: members.length }), PubSub.shutdown)
  const failure = Deferred.makeUnsafe<never, WorkerDied>()
  const onDeath = Effect.fnUntraced(function*(seat: typeof seats[number], death: Death, stderr: ReadonlyArray<string>) {
    const { member, process } = seat
    if (closing || member.died !== undefined) return
    const method = out.oldest(member)
    const died = new WorkerDied({
      rank: member.rank,
      incarnation: member.incarnation,
      node: process?.node ?? "",
      death,
      stderr,
      ...(process?.pid === undefined ? {} : { pid: process.pid }),
      ...(method === undefined ? {} : { method })
    })
    // The caller first: everything else can wait until it knows.
    out.lose(member, died)
    queue.publisher!.disconnect(member.rank)
    rendezvous.abort(died)
    PubSub.publishUnsafe(news, died)
    // Escalation: the first death is the group's failure, once.
    Deferred.doneUnsafe(failure, Exit.fail(died))
    if (process !== undefined) yield* process.kill("SIGKILL")
  })

  // ------------------------------------------------------------------------------------------------ collectives
  const rendezvous = makeRendezvous(members, out.send)

  // ------------------------------------------------------------------------------------------------ frames
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const onFrame = (rank: number, frame: MessageQueues.Frame): void => {
    const seat = seats[rank]!
    const message = readReply(frame, fence, rank, seat.member.incarnation)
    if (message === "stale") return void out.counters.fenced++
    if (message === "malformed") return onLost(rank, "it sent a frame that is not one of the protocol's")
    switch (message.kind) {
      case Kind.Ready:
        return void Deferred.doneUnsafe(seat.started, Exit.void)
      case Kind.Failed:
        return refused(seat, message)
      case Kind.Join:
        return rendezvous.join(seat.member, message)
      default:
        return out.receive(seat.member, message)
    }
  }
  const onLost = (rank: number, issue: string): void =>
    void run(Effect.suspend(() => {
      const seat = seats[rank]!
      const death: Death = { _tag: "Disconnected", issue }
      return Effect.flatMap(seat.process?.stderr ?? Effect.succeed([]), (stderr) => ended(seat, { death, stderr }))
    }))
  const refused = (seat: typeof seats[number], { advice, issue, phase }: Extract<FromWorker, { kind: typeof Kind.Failed }>): void =>
    void run(
      Effect.flatMap(
        seat.process?.stderr ?? Effect.succeed([]),
        (stderr) => Deferred.fail(seat.started, spawnError(seat, phase, issue, advice, stderr))
      )
    )
  const spawnError = (
    seat: typeof seats[number],
    phase: SpawnError["phase"],
    issue: string,
    advice: string,
    stderr: ReadonlyArray<string>
  ) => new SpawnError({ rank: seat.member.rank, node: seat.process?.node ?? "", entry, phase, issue, advice, stderr })

  /** A worker is gone: before it was ready that is its start's failure, afterwards it is a death. */
  const ended = Effect.fnUntraced(function*(seat: typeof seats[number], { death, stderr }: Cluster.End) {
    yield* queue.publisher!.drain(seat.member.rank)
    // An error costs milliseconds to make for the first time, and a death is urgent.
    if (!Deferred.isDoneUnsafe(seat.started)) {
      yield* Deferred.fail(
        seat.started,
        spawnError(seat, "start", `it ended before it was ready: ${describe(death)}`, lastWords, stderr)
      )
    }
    yield* onDeath(seat, death, stderr)
  })

  // ------------------------------------------------------------------------------------------------ start
  const publisher = queue.publisher = yield* queues.open({
    group: name,
    secret: fence.secret,
    ranks: members.length,
    receive: onFrame,
    lost: onLost
  })
  // The end of all workers takes as long as the slowest one's.
  const lives = yield* Scope.fork(yield* Effect.scope, "parallel")
  yield* Effect.forEach(
    seats,
    Effect.fnUntraced(function*(seat) {
      const { incarnation, rank } = seat.member
      const handle = yield* publisher.connect(rank, incarnation)
      const process = seat.process = yield* cluster.spawn({
        entry: options.entry,
        identity: { group: name, ...fence, rank, incarnation, shape: options.mesh.shape, handle }
      })
      yield* process.end.pipe(Effect.flatMap((end) => ended(seat, end)), Effect.forkScoped({ startImmediately: true }))
      yield* Effect.timeoutOrElse(Deferred.await(seat.started), {
        duration: readyWithin,
        orElse: () =>
          Effect.flatMap(process.stderr, (stderr) =>
            Effect.fail(spawnError(
              seat,
              "ready",
              `it was not ready within ${Duration.format(readyWithin)}`,
              "Mend what its layer waits for, or raise the group's readyWithin",
              stderr
            )))
      })
    }, Scope.provide(lives)),
    { concurrency: "unbounded", discard: true }
  ).pipe(
    // One that dies when it is ready, while others are not yet, fails the start as well.
    Effect.raceFirst(
      Effect.mapError(
        Deferred.await(failure),
        (died) => spawnError(seats[died.rank]!, "start", `it ended while others started: ${describe(died.death)}`, lastWords, died.stderr)
      )
    )
  )
  // Added last, so run first: from here on an end is not a death, and what is open is given up before the processes are told to go.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closing = true
      out.close()
    })
  )

  const whole = adverbs.make(
    out,
    new Map(methods.map((rpc) => [rpc._tag, codec.make(rpc)])),
    methods,
    options.mesh,
    yield* Effect.context<never>()
  )
  return Object.assign(whole, {
    protocol,
    transport: publisher.transport,
    workers: seats.map(({ member, process }) => ({ rank: member.rank, node: process!.node, pid: process!.pid })),
    deaths: Stream.fromPubSub(news),
    failure: Deferred.await(failure),
    counters: Effect.sync(() => ({ ...out.counters })),
    kill: (rank: number) =>
      Effect.suspend(() => {
        const seat = seats[rank]
        if (seat === undefined) throw new RangeError(`rank ${rank} is not among ${options.mesh.ranks.join(", ")}`)
        return seat.process!.kill("SIGKILL")
      })
  })
})

const lastWords = "Its standard error says why, if it had the time"

const describe = (death: Death): string =>
  death._tag === "Exited"
    ? `exit code ${death.code}`
    : death._tag === "Killed"
    ? death.signal
    : death._tag === "Silent"
    ? "silence"
    : death.issue

/** Brings the ranks of a generation together: each tells where it listens, and when all have, each is told of all. */
const makeRendezvous = (members: ReadonlyArray<fanOut.Member>, send: fanOut.FanOut["send"]) => {
  const isHandle = Schema.is(MessageQueues.Handle)
  const handles = new Map<number, MessageQueues.Handle>()
  let aborted: { readonly generation: number; readonly issue: string } | undefined
  return {
    join: (member: fanOut.Member, { generation, handle }: { readonly generation: number; readonly handle: unknown }): void => {
      if (aborted !== undefined) return send(member, { kind: Kind.Abort, ...aborted })
      if (!isHandle(handle)) return
      handles.set(member.rank, handle)
      if (handles.size < members.length) return
      const all = members.map(({ rank }) => handles.get(rank)!)
      for (const each of members) send(each, { kind: Kind.Peers, generation, handles: all })
    },
    /** Survivors must not wait for a rank that is gone. */
    abort: (died: WorkerDied): void => {
      aborted = { generation: died.incarnation, issue: `rank ${died.rank} is gone: ${describe(died.death)}` }
      for (const member of members) if (member.died === undefined) send(member, { kind: Kind.Abort, ...aborted })
    }
  }
}
