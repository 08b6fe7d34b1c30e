/**
 * Runs the requests that a worker hears and answers each once. A method that answers once is a fiber on its handler; streams, and methods with
 * middleware, go through Effect's `RpcServer`. Both wait for the same turn, in which alone a handler is called.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type { FromClient } from "effect/rpc/RpcMessage"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Record } from "../FlightRecorder.ts"
import type { Calls } from "./calls.ts"
import * as codec from "./codec.ts"
import { type FromWorker, Kind, type Request } from "./frame.ts"
import { Asked, Concurrent, type Self } from "./self.ts"
import { Streaming } from "./streaming.ts"
import * as turns from "./turn.ts"

export interface Seat {
  readonly self: Self["Service"]
  readonly send: (message: FromWorker) => void
  readonly record: Record
  readonly calls: Calls
}

interface Method {
  readonly rpc: Rpc.AnyWithProps
  readonly codec: codec.MethodCodec
  readonly concurrent: boolean
  /** What runs it without `RpcServer`: `undefined` for streams and methods with middleware. */
  readonly handler: ((payload: any, options: any) => any) | undefined
  readonly context: Context.Context<any>
}

/** What is known of a request that has arrived and is not answered. */
interface Running {
  readonly method: Method
  /** Its reply is not wanted. */
  readonly mute: boolean
  readonly call: number
  fiber: Fiber.Fiber<unknown, unknown> | undefined
}

export const make = Effect.fnUntraced(function*(
  protocol: RpcGroup.RpcGroup<Rpc.AnyWithProps>,
  handlers: Context.Context<any>,
  { calls, record, self, send }: Seat
) {
  const methods = new Map([...protocol.requests.values()].map((rpc): [string, Method] => {
    const entry = handlers.mapUnsafe.get(rpc.key) as Rpc.Handler<string>
    const plain = !RpcSchema.isStreamSchema(rpc.successSchema) && rpc.middlewares.size === 0
    return [rpc._tag, {
      rpc,
      codec: codec.make(rpc),
      concurrent: Context.get(rpc.annotations, Concurrent),
      handler: plain ? entry.handler : undefined,
      context: Context.merge(handlers, entry.context)
    }]
  }))
  const traced = handlers.mapUnsafe.has(Tracer.TracerKey)
  const running = new Map<number, Running>()
  const fibers = new Set<Fiber.Fiber<unknown, unknown>>()
  const turn = turns.make()
  /** Interrupts overtake the requests they mean, since control frames do not wait behind requests. */
  const interrupted = new Set<number>()
  let newest = -1

  /** Whether it had not ended. */
  const end = (id: number): boolean => {
    const known = running.get(id)
    if (known === undefined) return false
    running.delete(id)
    calls.ended(known.call)
    return true
  }
  const rejected = (id: number, issue: string): void => {
    end(id)
    record("rejection", id, "")
    send({ kind: Kind.Rejected, id, issue })
  }
  /** Whether the message went out; if it cannot, that is the request's answer. */
  const sendOr = (id: number, message: FromWorker): boolean => {
    try {
      send(message)
      return true
    } catch (cause) {
      rejected(id, `the reply cannot be sent: ${cause instanceof Error ? cause.message : String(cause)}`)
      return false
    }
  }
  const answer = (id: number, { method: { codec, rpc }, mute }: Running, exit: Exit.Exit<any, any>): void => {
    if (!end(id)) return
    record(exit._tag === "Success" ? "answer" : "failure", id, rpc._tag)
    if (exit._tag === "Success") {
      const value = mute || codec.streams ? Exit.succeed(null) : codec.encodeSuccess(exit.value, handlers)
      if (value._tag === "Success") return void sendOr(id, { kind: Kind.Success, id, value: value.value ?? null })
      return rejected(id, `the reply does not fit the protocol: ${issueOf(value)}`)
    }
    const encoded = codec.encodeExit(exit, handlers)
    if (encoded._tag === "Success") return void sendOr(id, { kind: Kind.Failure, id, exit: encoded.value })
    rejected(id, `the failure does not fit the protocol: ${issueOf(encoded)}`)
  }

  /** Whose handler the server is calling. */
  let begun = -1
  const serving = Effect.gen(function*() {
    const { makeNoSerialization } = yield* yield* Streaming
    return yield* makeNoSerialization(protocol as RpcGroup.RpcGroup<any>, {
      disableFatalDefects: true,
      spanAttributes: { "phalanx.rank": self.rank, "phalanx.incarnation": self.incarnation },
      onFromServer: (response) => {
        if (response._tag === "ClientEnd") return Effect.void
        // What a handler gives that is no stream is a defect of nobody's to the server.
        const id = response._tag === "Defect" ? begun : response.requestId as unknown as number
        const request = running.get(id)
        if (response._tag !== "Chunk") {
          if (request !== undefined) answer(id, request, response._tag === "Exit" ? response.exit : Exit.die(response.defect))
          turn.leave(id)
          return Effect.void
        }
        if (request === undefined) return Effect.void
        const values = request.method.codec.encodeChunk(response.values, handlers)
        if (values._tag === "Success") return sendOr(id, { kind: Kind.Chunk, id, values: values.value }) ? Effect.void : Effect.interrupt
        rejected(id, `an element does not fit the protocol: ${issueOf(values)}`)
        return Effect.interrupt
      }
    }).pipe(Effect.provideContext(handlers))
  })
  const server = [...methods.values()].some(({ handler }) => handler === undefined) ? yield* serving : undefined
  yield* Effect.addFinalizer(() => Fiber.interruptAll(fibers))

  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const client = new Rpc.ServerClient(0)

  const toServer = (message: FromClient<any>): void => void (server && fork(server.write(0, message)))
  const serve = (request: Request, payload: unknown, headers: Headers.Headers): void => {
    begun = request.id
    toServer({ _tag: "Request", id: request.id as any, tag: request.method as any, payload, headers, ...request.trace })
    begun = -1
  }

  const follow = (known: Running, fiber: Fiber.Fiber<unknown, unknown>, onExit: (exit: Exit.Exit<unknown, unknown>) => void): void => {
    known.fiber = fiber
    fibers.add(fiber)
    fiber.addObserver((exit) => {
      fibers.delete(fiber)
      onExit(exit)
    })
  }

  /** Calls the handler and answers with what its effect comes to. An effect that has ended already needs no fiber. */
  const runHandler = (request: Request, known: Running, payload: unknown, headers: Headers.Headers): void => {
    const { id } = request
    const { context, handler, rpc } = known.method
    let wrapped = false
    let result: any
    let effect: Effect.Effect<unknown, unknown>
    try {
      result = handler!(payload, { rpc, client, requestId: id, headers, payload })
      wrapped = typeof result === "object" && result !== null && Rpc.isWrapper(result)
      effect = wrapped ? result.value : result
      if (!Effect.isEffect(effect)) throw new TypeError(`the handler of ${request.method} gave ${typeof effect}, not an effect`)
    } catch (defect) {
      effect = Exit.die(defect)
    }
    if (wrapped && result.fork) turn.leave(id)
    const exit = Exit.isExit(effect) && !(effect._tag === "Success" && isDeferred(effect.value)) ? effect : undefined
    if (exit !== undefined && request.trace === null && !traced) {
      answer(id, known, exit)
      return turn.leave(id)
    }
    const scope = Scope.makeUnsafe()
    const fiber = Effect.runForkWith(Context.add(Context.add(context, Scope.Scope, scope), Asked, request))(
      request.trace === null && !traced ? effect : Effect.withSpan(effect, request.method, {
        kind: "server",
        captureStackTrace: false,
        attributes: { "rpc.method": request.method, "phalanx.rank": self.rank, "phalanx.incarnation": self.incarnation },
        parent: request.trace === null ? undefined : Tracer.externalSpan(request.trace)
      } as Tracer.SpanOptionsNoTrace),
      wrapped && result.uninterruptible ? { uninterruptible: true } : undefined
    )
    follow(known, fiber, (exit) => {
      // A handler may answer later, without its turn, by giving a deferred.
      if (exit._tag === "Success" && isDeferred(exit.value)) {
        follow(known, fork(Deferred.await(exit.value)), (late) => answer(id, known, late))
      } else {
        answer(id, known, exit)
      }
      const closing = Scope.closeUnsafe(scope, exit)
      if (closing === undefined) return turn.leave(id)
      // The handler's own resources are released in its turn, too.
      fork(closing).addObserver(() => turn.leave(id))
    })
  }

  return {
    /** Less than the id of any request that is heard from now on. */
    next: (): number => newest + 1,
    /** Whoever asked is gone: what runs is told to stop, and nothing of it is answered. */
    abandon: (): void => {
      interrupted.clear()
      // First those that wait: whoever has the turn may pass it on at once.
      const begun = [...running].filter(([id]) => !turn.withdraw(id))
      for (const id of running.keys()) end(id)
      for (const [id, { fiber }] of begun) {
        if (fiber !== undefined) fiber.interruptUnsafe()
        else toServer({ _tag: "Interrupt", requestId: id as any, interruptors: [] })
      }
    },
    request: (request: Request): void => {
      const { id } = request
      newest = id
      record("request", id, request.method)
      calls.heard(request.call)
      const method = methods.get(request.method)
      if (method === undefined) {
        calls.ended(request.call)
        return rejected(id, `no method ${request.method}; the worker serves ${[...methods.keys()].join(", ")}`)
      }
      const known: Running = {
        method,
        mute: request.replyFrom !== -1 && request.replyFrom !== self.member,
        call: request.call,
        fiber: undefined
      }
      running.set(id, known)
      if (interrupted.delete(id)) return answer(id, known, Exit.interrupt())
      const payload = method.codec.decodePayload(request.payload, handlers)
      if (payload._tag === "Failure") return rejected(id, `the payload does not fit ${request.method}: ${issueOf(payload)}`)
      const headers = request.headers === null ? Headers.empty : Headers.fromInput(request.headers as any)
      const begin = (): void =>
        method.handler === undefined ? serve(request, payload.value, headers) : runHandler(request, known, payload.value, headers)
      if (method.concurrent) return begin()
      let waited = false
      turn.enter(id, () => {
        if (waited) record("begin", id, request.method)
        begin()
      })
      waited = true
    },
    interrupt: (id: number): void => {
      record("interrupt", id, "")
      if (id > newest) return void interrupted.add(id)
      const known = running.get(id)
      if (known === undefined) return
      if (turn.withdraw(id)) return answer(id, known, Exit.interrupt())
      if (known.fiber !== undefined) return known.fiber.interruptUnsafe()
      toServer({ _tag: "Interrupt", requestId: id as any, interruptors: [] })
    },
    ack: (id: number): void => toServer({ _tag: "Ack", requestId: id as any })
  }
})

/** A value may be one that throws at whoever asks it anything: a proxy that was revoked, say. That is for the codec to tell. */
const isDeferred = (value: unknown): value is Deferred.Deferred<unknown, unknown> => {
  try {
    return Deferred.isDeferred(value)
  } catch {
    return false
  }
}

const issueOf = (exit: Exit.Exit<unknown, string>): string => exit._tag === "Failure" ? String(Cause.squash(exit.cause)) : ""
