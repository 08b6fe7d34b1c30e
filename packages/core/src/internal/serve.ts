/**
 * The worker's end. The handlers' engine is Effect's `RpcServer`; this gives it codecs, the fence, a rank's turn, and its lanes.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Cluster from "../Cluster.ts"
import { CollectiveAborted, Collectives } from "../Collectives.ts"
import * as Mesh from "../Mesh.ts"
import * as MessageQueues from "../MessageQueues.ts"
import type { QueueError } from "../QueueError.ts"
import type { Worker } from "../Worker.ts"
import { SpawnError } from "../WorkerError.ts"
import * as codec from "./codec.ts"
import * as collectives from "./collectives.ts"
import { type Fence, type FromWorker, Kind, readDriver, reply, type Request } from "./frame.ts"
import { Concurrent, Self } from "./self.ts"

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
    const { frames, handlers } = yield* build(worker, {
      self: { rank, worldSize: mesh.ranks.length, incarnation, epoch: identity.epoch, node, mesh },
      collectives: group.service
    }).pipe(Effect.catchCause((cause) => failed("setup", "Mend the worker's layer: it failed while it was built")(Cause.squash(cause))))
    const serving = yield* serve(worker, handlers, frames, { rank, incarnation, fence, send, onControl: group.onControl })
    receive = serving
    inbox.splice(0).forEach(serving)
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
    ? Effect.flatMap(Effect.tryPromise({ try: () => import(entry.href), catch: (cause) => cause }), (module) =>
      isWorker(module.default) ? Effect.succeed(module.default) : Effect.fail("its default export is not a Worker"))
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
    onControl: (message: { kind: number; generation: number; handles?: ReadonlyArray<unknown>; issue?: string }): void => {
      if (message.generation !== generation) return
      if (message.kind === Kind.Peers && isHandles(message.handles)) {
        Deferred.doneUnsafe(peers, Exit.succeed(message.handles))
      } else if (message.kind === Kind.Abort) {
        made.abort(message.issue!)
        Deferred.doneUnsafe(peers, Exit.fail(new CollectiveAborted({ operation: "join", generation, issue: message.issue! })))
      }
    }
  }
})

/** Builds the worker's layer with its identity; every request runs in what it gives. */
const build = Effect.fnUntraced(function*(worker: Worker<any, unknown>, given: {
  readonly self: Self["Service"]
  readonly collectives: Collectives["Service"]
}) {
  const context = yield* Layer.build(Layer.fresh(worker.layer)).pipe(
    Effect.provideService(Self, given.self),
    Effect.provideService(Collectives, given.collectives)
  )
  const rpcs = [...(worker.protocol as RpcGroup.RpcGroup<Rpc.AnyWithProps>).requests.values()]
  const handlers = Context.merge(
    context as Context.Context<any>,
    Context.makeUnsafe<any>(new Map(rpcs.map((rpc) => [rpc.key, inTurn(rpc, (context as Context.Context<any>).mapUnsafe.get(rpc.key))])))
  )
  return { handlers, frames: new Map(rpcs.map((rpc) => [rpc._tag as string, codec.make(rpc)])) }
})

/** `RpcServer` calls a handler as soon as its request arrives and only runs the effect in turn; this calls it in turn too. */
const inTurn = (rpc: Rpc.AnyWithProps, entry: Rpc.Handler<string>): Rpc.Handler<string> => {
  const concurrent = Context.get(rpc.annotations, Concurrent)
  const wrap: (result: object) => object = concurrent ? Rpc.fork : (result) => result
  const handler = (payload: any, options: any): any => {
    const result = (): any => Rpc.unwrap(entry.handler(payload, options))
    return wrap(
      RpcSchema.isStreamSchema(rpc.successSchema)
        ? Stream.suspend(() => {
          const source = result()
          return Effect.isEffect(source) ? Stream.unwrap(Effect.map(source, (queue: any) => Stream.fromQueue(queue))) : source
        })
        : Effect.suspend(result)
    )
  }
  return { ...entry, handler }
}

interface Seat {
  readonly rank: number
  readonly incarnation: number
  readonly fence: Fence
  readonly send: (message: FromWorker) => void
  readonly onControl: (message: any) => void
}

/** What is known of a request that has arrived and is not answered. */
interface Running {
  readonly codec: codec.MethodCodec
  readonly mute: boolean
}

const serve = Effect.fnUntraced(function*(
  worker: Worker<any, unknown>,
  handlers: Context.Context<any>,
  codecs: ReadonlyMap<string, codec.MethodCodec>,
  seat: Seat
) {
  const running = new Map<number, Running>()
  /** Interrupts overtake the requests they mean, since control frames do not wait behind requests. */
  const interrupted = new Set<number>()
  let newest = -1

  const rejected = (id: number, issue: string): void => {
    running.delete(id)
    seat.send({ kind: Kind.Rejected, id, issue })
  }
  /** `undefined` when the frame could not be sent, which is then the request's answer. */
  const sendOr = (id: number, message: FromWorker): boolean => {
    try {
      seat.send(message)
      return true
    } catch (cause) {
      rejected(id, `the reply cannot be sent: ${cause instanceof Error ? cause.message : String(cause)}`)
      return false
    }
  }
  const answer = (id: number, { codec, mute }: Running, exit: Exit.Exit<any, any>): void => {
    running.delete(id)
    if (exit._tag === "Success") {
      const value = mute || codec.streams ? Exit.succeed(null) : codec.encodeSuccess(exit.value, handlers)
      if (value._tag === "Success") return void sendOr(id, { kind: Kind.Success, id, value: value.value ?? null })
      return rejected(id, `the reply does not fit the protocol: ${issueOf(value)}`)
    }
    const encoded = codec.encodeExit(exit, handlers)
    if (encoded._tag === "Success") return void sendOr(id, { kind: Kind.Failure, id, exit: encoded.value })
    rejected(id, `the failure does not fit the protocol: ${issueOf(encoded)}`)
  }

  const server = yield* RpcServer.makeNoSerialization(worker.protocol as RpcGroup.RpcGroup<any>, {
    concurrency: 1,
    disableFatalDefects: true,
    spanAttributes: { "phalanx.rank": seat.rank, "phalanx.incarnation": seat.incarnation },
    onFromServer: (response) => {
      if (response._tag !== "Chunk" && response._tag !== "Exit") return Effect.void
      const id = response.requestId as unknown as number
      const request = running.get(id)
      if (request === undefined) return Effect.void
      if (response._tag === "Exit") {
        answer(id, request, response.exit)
        return Effect.void
      }
      const values = request.codec.encodeChunk(response.values, handlers)
      if (values._tag === "Success") return sendOr(id, { kind: Kind.Chunk, id, values: values.value }) ? Effect.void : Effect.interrupt
      rejected(id, `an element does not fit the protocol: ${issueOf(values)}`)
      return Effect.interrupt
    }
  }).pipe(Effect.provideContext(handlers))

  const write = Effect.runForkWith(yield* Effect.context<never>())
  const onRequest = (request: Request): void => {
    const { id } = request
    newest = id
    const codec = codecs.get(request.method)
    if (codec === undefined) return rejected(id, `no method ${request.method}; the worker serves ${[...codecs.keys()].join(", ")}`)
    const known: Running = { codec, mute: request.replyFrom !== -1 && request.replyFrom !== seat.rank }
    if (interrupted.delete(id)) return answer(id, known, Exit.interrupt())
    const payload = codec.decodePayload(request.payload, handlers)
    if (payload._tag === "Failure") return rejected(id, `the payload does not fit ${request.method}: ${issueOf(payload)}`)
    running.set(id, known)
    write(server.write(0, {
      _tag: "Request",
      id: id as any,
      tag: request.method as any,
      payload: payload.value,
      headers: request.headers === null ? Headers.empty : Headers.fromInput(request.headers as any),
      ...(request.trace ?? {})
    }))
  }

  return (frame: MessageQueues.Frame): void => {
    const message = readDriver(frame, seat.fence, seat.rank, seat.incarnation)
    if (message === "stale" || message === "malformed") return
    switch (message.kind) {
      case Kind.Request:
        return onRequest(message)
      case Kind.Interrupt:
        if (message.id > newest) interrupted.add(message.id)
        else if (running.has(message.id)) write(server.write(0, { _tag: "Interrupt", requestId: message.id as any, interruptors: [] }))
        return
      case Kind.Ack:
        write(server.write(0, { _tag: "Ack", requestId: message.id as any }))
        return
      default:
        seat.onControl(message)
    }
  }
})

const issueOf = (exit: Exit.Exit<unknown, string>): string => exit._tag === "Failure" ? String(Cause.squash(exit.cause)) : ""
