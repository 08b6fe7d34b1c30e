/**
 * A worker's life: attaches, loads its entry, meets the other ranks, builds its layer, says that it is ready, and hands what it hears to whom it is for.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Cluster from "../Cluster.ts"
import { CollectiveAborted, Collectives } from "../Collectives.ts"
import * as Mesh from "../Mesh.ts"
import * as MessageQueues from "../MessageQueues.ts"
import type { QueueError } from "../QueueError.ts"
import type { Worker } from "../Worker.ts"
import { SpawnError } from "../WorkerError.ts"
import * as answering from "./answering.ts"
import * as collectives from "./collectives.ts"
import { type Control, type Fence, type FromWorker, Kind, readDriver, reply } from "./frame.ts"
import { Self } from "./self.ts"

export const run = (
  entry: Cluster.Entry<any>,
  identity: Cluster.Identity,
  node: string
): Effect.Effect<void, SpawnError | QueueError, MessageQueues.MessageQueues> =>
  Effect.scoped(Effect.gen(function*() {
    const { rank, incarnation } = identity
    const fence: Fence = identity
    const queues = yield* MessageQueues.MessageQueues
    const ended = Deferred.makeUnsafe<void>()
    const inbox: Array<MessageQueues.Frame> = []
    let receive = (frame: MessageQueues.Frame): void => void inbox.push(frame)
    const subscriber = yield* queues.attach(identity.handle, {
      receive: (frame) => receive(frame),
      lost: () => Deferred.doneUnsafe(ended, Exit.void)
    })
    const send = (message: FromWorker): void => subscriber.send(reply(fence, rank, incarnation, message))

    /** Tells the driver why there will be no worker, then fails with the same. */
    const failed = (phase: "import" | "setup", advice: string) => (cause: unknown) => {
      const issue = issueAndPlace(cause)
      send({ kind: Kind.Failed, phase, issue, advice })
      const error = new SpawnError({ rank, node, entry: nameOf(entry), phase, issue, advice, stderr: [] })
      return Effect.andThen(subscriber.flush, Effect.fail(error))
    }

    const worker = yield* Effect.catch(
      load(entry),
      failed("import", "The entry must be a module that Node can import and whose default export is Worker.make(…)")
    )
    const mesh = Mesh.make(identity.shape)
    const group = yield* joining(identity, mesh.ranks.length, send)
    // A layer may use collectives while it is built, so what they need is heard from the first.
    const hold = (frame: MessageQueues.Frame): void => {
      const message = readDriver(frame, fence, rank, incarnation)
      if (typeof message === "object" && (message.kind === Kind.Peers || message.kind === Kind.Abort)) group.onControl(message)
      else inbox.push(frame)
    }
    receive = hold
    inbox.splice(0).forEach(hold)
    const handlers = yield* Layer.build(Layer.fresh(worker.layer)).pipe(
      Effect.provideService(Self, { rank, worldSize: mesh.ranks.length, incarnation, epoch: identity.epoch, node, mesh }),
      Effect.provideService(Collectives, group.service),
      Effect.catchCause((cause) => failed("setup", "Mend the worker's layer: it failed while it was built")(Cause.squash(cause)))
    )
    const answers = yield* answering.make(worker.protocol as any, handlers as Context.Context<any>, { rank, incarnation, send })
    receive = (frame) => {
      const message = readDriver(frame, fence, rank, incarnation)
      if (message === "stale" || message === "malformed") return
      switch (message.kind) {
        case Kind.Request:
          return answers.request(message)
        case Kind.Interrupt:
          return answers.interrupt(message.id)
        case Kind.Ack:
          return answers.ack(message.id)
        default:
          return group.onControl(message)
      }
    }
    inbox.splice(0).forEach(receive)
    send({ kind: Kind.Ready })
    yield* Deferred.await(ended)
  }))

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

/** The collectives of this incarnation. Their lanes are opened by the first operation, which tells the driver where and hears where the others are. */
const joining = Effect.fnUntraced(function*(identity: Cluster.Identity, ranks: number, send: (message: FromWorker) => void) {
  const generation = identity.incarnation
  const peers = Deferred.makeUnsafe<ReadonlyArray<MessageQueues.Handle>, CollectiveAborted>()
  const made = yield* collectives.make({
    group: identity.group,
    secret: identity.secret,
    rank: identity.rank,
    ranks,
    generation,
    join: (handle) => {
      send({ kind: Kind.Join, generation, handle })
      return Deferred.await(peers)
    }
  })
  const isHandles = Schema.is(Schema.Array(MessageQueues.Handle))
  return {
    service: made.service,
    onControl: (message: Extract<Control, { generation: number }>): void => {
      if (message.generation !== generation) return
      if (message.kind === Kind.Peers && isHandles(message.handles)) {
        Deferred.doneUnsafe(peers, Exit.succeed(message.handles))
      } else if (message.kind === Kind.Abort) {
        made.abort(message.issue)
        Deferred.doneUnsafe(peers, Exit.fail(new CollectiveAborted({ operation: "join", generation, issue: message.issue })))
      }
    }
  }
})
