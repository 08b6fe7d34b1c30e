/**
 * A worker's life: attaches, loads its entry, meets the other ranks, builds its layer, says that it is ready, and hands what it hears to whom it is for.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { type Claim, Claims } from "../Claim.ts"
import type * as Cluster from "../Cluster.ts"
import { Collectives } from "../Collectives.ts"
import { FlightRecorder } from "../FlightRecorder.ts"
import * as Mesh from "../Mesh.ts"
import * as MessageQueues from "../MessageQueues.ts"
import type { QueueError } from "../QueueError.ts"
import type { Worker } from "../Worker.ts"
import { SpawnError } from "../WorkerError.ts"
import * as answering from "./answering.ts"
import { type Control, type Epoch, fenceOf, type FromDriver, type FromWorker, Kind, readDriver, reply } from "./frame.ts"
import * as generations from "./generations.ts"
import { type Membership, Self } from "./self.ts"

export const run = (
  entry: Cluster.Entry<any>,
  identity: Cluster.Identity,
  node: string
): Effect.Effect<void, SpawnError | QueueError, MessageQueues.MessageQueues> =>
  Effect.scoped(Effect.gen(function*() {
    const { incarnation, member } = identity
    let fence = fenceOf(identity.secret, identity.epoch)
    let membership: Membership = { epoch: identity.epoch, rank: identity.rank, mesh: Mesh.make(identity.shape) }
    let { joining = false } = identity
    const memberships = yield* SubscriptionRef.make(membership)
    const queues = yield* MessageQueues.MessageQueues
    const context = yield* Effect.context<never>()
    const record = yield* FlightRecorder
    const ended = Deferred.makeUnsafe<void>()
    const inbox: Array<MessageQueues.Frame> = []
    const early: Array<MessageQueues.Frame> = []
    let receive = (frame: MessageQueues.Frame): void => void inbox.push(frame)
    const claims = yield* Claims

    // ---------------------------------------------------------------------------------------------- the driver
    const scope = yield* Effect.scope
    /** The lanes of one driver after another; `undefined` while there are none. */
    let lanes: { readonly driver: number; readonly scope: Scope.Closeable; subscriber: MessageQueues.Subscriber | undefined }
    /** From here on nothing of the former driver is heard, so that no request of its is answered to another, and nothing is told to it. */
    const leave = (driver: number): typeof lanes => lanes = { driver, scope: Scope.forkUnsafe(scope), subscriber: undefined }
    const attach = Effect.fnUntraced(function*(mine: typeof lanes, handle: MessageQueues.Handle) {
      const subscriber = yield* Scope.provide(
        queues.attach(handle, {
          receive: (frame) => {
            if (lanes === mine) receive(frame)
          },
          // One that has a keeper waits for another driver, if this one may be dead.
          lost: (_, broken) => {
            if (lanes === mine && (broken !== true || claims === undefined)) Deferred.doneUnsafe(ended, Exit.void)
          }
        }),
        mine.scope
      )
      if (lanes === mine) mine.subscriber = subscriber
      return lanes === mine
    })
    yield* attach(leave(-1), identity.handle)
    const send = (message: FromWorker): void =>
      lanes.subscriber?.send(reply(fence, member, incarnation, message), message.kind === Kind.Success)

    /** Tells the driver why there will be no worker, then fails with the same. */
    const failed = (phase: "import" | "setup", advice: string) => (cause: unknown) => {
      const issue = issueAndPlace(cause)
      send({ kind: Kind.Failed, phase, issue, advice })
      const error = new SpawnError({ rank: membership.rank, node, entry: nameOf(entry), phase, issue, advice, stderr: [] })
      return Effect.andThen(lanes.subscriber?.flush ?? Effect.void, Effect.fail(error))
    }

    record("import", 0, "")
    const worker = yield* Effect.catch(
      load(entry),
      failed("import", "The entry must be a module that Node can import and whose default export is Worker.make(…)")
    )
    const group = yield* generations.make({
      group: identity.group,
      secret: identity.secret,
      generation: identity.generation,
      record,
      place: () => ({ rank: membership.rank, ranks: membership.mesh.ranks.length }),
      send
    })
    /** What is known of the epoch that it is in. */
    let seat = { rank: identity.joining === true ? -1 : identity.rank, shape: identity.shape, members: [] as ReadonlyArray<number> }
    const enter = ({ epoch, generation, members, shape }: Epoch): void => {
      const rank = members.indexOf(member)
      seat = { rank, shape, members }
      fence = fenceOf(identity.secret, epoch)
      record("epoch", epoch, "")
      send({ kind: Kind.Entered })
      // One that has left answers what it was asked before, until its driver ends it.
      if (rank >= 0) {
        joining = false
        membership = { epoch, rank, mesh: Mesh.make(shape) }
        group.enter(generation)
        Effect.runSyncWith(context)(SubscriptionRef.set(memberships, membership))
      }
      early.splice(0).forEach(receive)
    }
    let ready = false
    let restoring = false
    let answers: Effect.Success<ReturnType<typeof answering.make>> | undefined
    /** Another driver: what the former one had asked is given up, and its lanes are left. */
    const claimed = Effect.fnUntraced(function*({ driver, handle }: Claim) {
      if (driver <= lanes.driver) return record("stale", driver, "claim")
      record("claim", driver, "")
      const former = lanes
      const mine = leave(driver)
      answers?.abandon()
      for (const frames of [inbox, early]) frames.length = 0
      // A lane that is broken may take its time to be closed.
      yield* Effect.forkIn(Scope.close(former.scope, Exit.void), scope, { startImmediately: true })
      if (!(yield* attach(mine, handle))) return
      const { epoch } = fence
      const serves = ready && !restoring
      send({ kind: Kind.Claimed, driver, epoch, next: answers?.next() ?? 0, generation: group.latest(), serves, ...seat })
    })
    claims?.((claim) => void Effect.runForkWith(context)(Effect.ignore(claimed(claim))))

    // A layer may use collectives while it is built, so what they need is heard from the first.
    const hold = (frame: MessageQueues.Frame): void => {
      const message = readDriver(frame, fence, member, incarnation)
      if (message === "early") early.push(frame)
      else if (typeof message === "object" && message.kind === Kind.Epoch) enter(message)
      else if (typeof message === "object" && isMeeting(message)) group.onControl(message)
      else if (typeof message === "object" && message.kind === Kind.Restoring) restoring = message.restoring
      else inbox.push(frame)
    }
    receive = hold
    inbox.splice(0).forEach(hold)
    const self: Self["Service"] = {
      member,
      incarnation,
      node,
      get rank() {
        return membership.rank
      },
      get worldSize() {
        return membership.mesh.ranks.length
      },
      get epoch() {
        return membership.epoch
      },
      get mesh() {
        return membership.mesh
      },
      get joining() {
        return joining
      },
      changes: SubscriptionRef.changes(memberships)
    }
    record("setup", 0, "")
    const handlers = yield* Layer.build(Layer.fresh(worker.layer)).pipe(
      Effect.provideService(Self, self),
      Effect.provideService(Collectives, group.service),
      Effect.catchCause((cause) => failed("setup", "Mend the worker's layer: it failed while it was built")(Cause.squash(cause)))
    )
    const { ack, interrupt, request } = answers = yield* answering.make(worker.protocol as any, handlers as Context.Context<any>, {
      self,
      send,
      record,
      calls: group.calls
    })
    receive = (frame) => {
      const message = readDriver(frame, fence, member, incarnation)
      if (message === "early") return void early.push(frame)
      if (message === "stale" || message === "malformed") return
      switch (message.kind) {
        case Kind.Request:
          return request(message)
        case Kind.Interrupt:
          return interrupt(message.id)
        case Kind.Ack:
          return ack(message.id)
        case Kind.Ping:
          return send({ kind: Kind.Pong, beat: message.beat, stats: lanes.subscriber?.stats?.() ?? {} })
        case Kind.Epoch:
          return enter(message)
        case Kind.Restoring:
          return void (restoring = message.restoring)
        default:
          return group.onControl(message)
      }
    }
    inbox.splice(0).forEach(receive)
    ready = true
    record("ready", 0, "")
    send({ kind: Kind.Ready })
    yield* Deferred.await(ended)
  }))

const isMeeting = (message: FromDriver): message is Extract<Control, { generation: number }> =>
  message.kind === Kind.Peers || message.kind === Kind.Abort || message.kind === Kind.Renew || message.kind === Kind.Meet

/** What was thrown, and the file, line and column that its stack begins with. */
const issueAndPlace = (cause: unknown): string => {
  if (!(cause instanceof Error)) return String(cause)
  const place = /\bfile:\/\/[^\s()]+/.exec(cause.stack ?? "")?.[0]
  return `${cause.message === "" ? String(cause) : cause.message}${place === undefined ? "" : ` (${place})`}`
}

const nameOf = (entry: Cluster.Entry<any>): string => entry instanceof URL ? entry.href : "a worker value"

const load = (entry: Cluster.Entry<any>): Effect.Effect<Worker<any, unknown>, unknown> =>
  entry instanceof URL
    ? Effect.flatMap(
      // What the module threw is what is told, not that something was thrown.
      Effect.mapError(Effect.tryPromise(() => import(entry.href)), ({ cause }) => cause),
      (module) => isWorker(module.default) ? Effect.succeed(module.default) : Effect.fail("its default export is not a Worker")
    )
    : Effect.succeed(entry)

const isWorker = (u: any): u is Worker<any, unknown> => typeof u === "object" && u !== null && "protocol" in u && Layer.isLayer(u.layer)
