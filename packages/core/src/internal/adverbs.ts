/**
 * The adverbs: one `start` of the fan-out, heard in five ways.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as Queue from "effect/Queue"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Mesh from "../Mesh.ts"
import { CallError, CallRejected, CallTimeout, type Lost } from "../WorkerError.ts"
import * as clientMiddleware from "./clientMiddleware.ts"
import type { MethodCodec } from "./codec.ts"
import type { FanOut } from "./fanOut.ts"
import type { Audience, Sink } from "./request.ts"

export type Method = Rpc.AnyWithProps

interface Options {
  readonly timeout?: Duration.Input | undefined
  readonly replyFrom?: number | Mesh.Coordinates<string> | undefined
}

/** What is known of a call when it is made. */
interface Asked {
  readonly span: Tracer.Span | undefined
  readonly headers: Headers.Headers
  /** Why client middleware has refused it. */
  readonly refusal: { readonly reason: unknown } | undefined
}

/** Whom a call is for, looked up when it starts: the group may have another size by then. */
interface View {
  (): Mesh.Any
  /** Whom it may ever have been for. */
  readonly reached: () => Mesh.Any
}

/** The ranks of a selection that the group no longer has. Its one rank is nobody's, so a call of it is rejected. */
const nowhere: Mesh.Any = Object.assign(Mesh.make<Record<string, number>>({}), { ranks: [-1] })

/** What is found in a view, or `gone` where it has been in it before. What never was is thrown: the `RangeError` of the search. */
const sought = <A>(view: View, find: (mesh: Mesh.Any) => A, gone: A): A => {
  try {
    return find(view())
  } catch (never) {
    try {
      find(view.reached())
    } catch {
      throw never
    }
    return gone
  }
}

/** A selection of what another view sees, made anew when that has changed. Throws a `RangeError` if it never selected anything. */
const selecting = (parent: View, select: (mesh: Mesh.Any) => Mesh.Any): View => {
  let from = parent()
  let mesh = sought(parent, select, nowhere)
  const look = () => {
    const now = parent()
    if (now === from) return mesh
    from = now
    return mesh = sought(parent, select, nowhere)
  }
  return Object.assign(look, { reached: () => select(parent.reached()) })
}

/** The rank at a place. Throws a `RangeError` if there is none. */
const rankIn = (mesh: Mesh.Any, at: number | Mesh.Coordinates<string>): number => {
  const rank = typeof at === "number" ? at : Mesh.rankAt(mesh, at)
  if (!mesh.ranks.includes(rank)) throw new RangeError(`rank ${rank} is not among ${mesh.ranks.join(", ")}`)
  return rank
}

export const make = (
  fanOut: FanOut,
  codecs: ReadonlyMap<string, MethodCodec>,
  methods: ReadonlyArray<Method>,
  audience: Audience,
  services: Context.Context<never>
) => {
  const middleware = new Map(methods.map((rpc) => [rpc, clientMiddleware.headers(rpc, services)]))

  /** Opens a call; one that is refused beforehand has its answers at once. */
  const start = (rpc: Method, mesh: Mesh.Any, payload: unknown, sink: Sink, asked: Asked, replyFrom = -1): ReturnType<FanOut["start"]> => {
    const { refusal } = asked
    if (refusal !== undefined) {
      mesh.ranks.forEach((rank, index) =>
        sink.exit(index, Exit.fail(new CallError<any>({ method: rpc._tag, rank, reason: refusal.reason })))
      )
      sink.handed?.()
      return { stop: () => {} }
    }
    const { context } = Fiber.getCurrent()!
    const headers = Object.entries(asked.headers) as Array<[string, string]>
    return fanOut.start({ method: rpc._tag, codec: codecs.get(rpc._tag)!, context, mesh, sink, audience, replyFrom }, payload, {
      place: (index) => Mesh.place(mesh, index),
      headers: headers.length === 0 ? null : headers,
      trace: asked.span === undefined ? null : { traceId: asked.span.traceId, spanId: asked.span.spanId, sampled: asked.span.sampled }
    })
  }

  /** Whether somebody may see a call's span: the caller is in one, or has a tracer of its own. */
  const isTraced = ({ context }: Fiber.Fiber<unknown, unknown>): boolean =>
    context.mapUnsafe.has(Tracer.ParentSpanKey) || context.mapUnsafe.has(Tracer.TracerKey)
  const nameOf = (rpc: Method): string => `call ${rpc._tag}`
  const spanOptions = (rpc: Method, mesh: Mesh.Any) =>
    ({ kind: "client", captureStackTrace: false, attributes: { "rpc.method": rpc._tag, "phalanx.ranks": mesh.ranks.length } }) as {}

  /** Runs the protocol's client middleware, if it has any, before a call. */
  const asking = <A, E, R>(
    rpc: Method,
    span: Tracer.Span | undefined,
    f: (asked: Asked) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> => {
    const headers = middleware.get(rpc)
    return headers === undefined
      ? Effect.flatMap(RpcClient.CurrentHeaders, (headers) => f({ span, headers, refusal: undefined }))
      : Effect.matchEffect(headers, {
        onSuccess: (headers) => f({ span, headers, refusal: undefined }),
        onFailure: (reason) => f({ span, headers: Headers.empty, refusal: { reason } })
      })
  }
  /** A call that lasts as long as one effect. */
  const spanned = <A, E, R>(
    rpc: Method,
    view: () => Mesh.Any,
    f: (asked: Asked, mesh: Mesh.Any) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.withFiber<A, E, R>((fiber) => {
      const mesh = view()
      const ask = (asked: Asked) => f(asked, mesh)
      return isTraced(fiber)
        ? Effect.useSpan(nameOf(rpc), spanOptions(rpc, mesh), (span) => asking(rpc, span, ask))
        : asking(rpc, undefined, ask)
    })

  /** When the time is over, stops what is open, which is then the answer. */
  const within = <A, E>(timeout: Duration.Input | undefined, stop: (reason: Lost) => void, answer: Effect.Effect<A, E>) =>
    timeout === undefined ? answer : Effect.timeoutOrElse(answer, {
      duration: timeout,
      orElse: () => {
        stop(new CallTimeout({ millis: Math.max(0, Duration.toMillis(timeout)) }))
        return answer
      }
    })

  /** One answer a rank, collected; with `failFast` the first failure is the result and stops the others. */
  const gather = (rpc: Method, view: () => Mesh.Any, failFast: boolean, payload: unknown, options?: Options, replyFrom?: number) =>
    spanned(rpc, view, (asked, mesh) => {
      const results: Array<unknown> = mesh.ranks.map(() => undefined)
      let left = mesh.ranks.length
      let failed = false
      const collect = (done: (exit: Exit.Exit<ReadonlyArray<any>, CallError<any>>) => void): ReturnType<FanOut["start"]> => {
        const call: { stop?: () => void } = {}
        const started = start(
          rpc,
          mesh,
          payload,
          {
            exit: (index, exit) => {
              if (failFast && exit._tag === "Failure") {
                if (failed) return
                failed = true
                done(exit)
                call.stop?.()
                return
              }
              results[index] = failFast && exit._tag === "Success" ? exit.value : exit
              if (--left === 0 && !failed) done(Exit.succeed(results))
            },
            // When its time is over a call must know all that was said in time.
            awaits: () => options?.timeout === undefined ? left : 1
          },
          asked,
          replyFrom
        )
        call.stop = started.stop
        // It failed before there was anything to stop.
        if (failed) started.stop()
        return started
      }
      if (options?.timeout === undefined) {
        return Effect.callback<ReadonlyArray<any>, CallError<any>>((resume) => {
          const { stop } = collect(resume)
          return Effect.sync(() => stop())
        })
      }
      return Effect.uninterruptibleMask((restore) => {
        const done = Deferred.makeUnsafe<ReadonlyArray<any>, CallError<any>>()
        const { stop } = collect((exit) => Deferred.doneUnsafe(done, exit))
        return Effect.onInterrupt(restore(within(options.timeout, stop, Deferred.await(done))), () => Effect.sync(() => stop()))
      })
    })

  const call = (rpc: Method, view: View) => (payload: unknown, options?: Options) => {
    const from = options?.replyFrom
    if (from === undefined) return gather(rpc, view, true, payload, options)
    const find = (mesh: Mesh.Any) => rankIn(mesh, from)
    sought(view, find, -1)
    return Effect.suspend(() => {
      const rank = sought(view, find, -1)
      const mesh = rank === -1 ? nowhere : view()
      return Effect.map(gather(rpc, () => mesh, true, payload, options, rank), (replies) => replies[mesh.ranks.indexOf(rank)])
    })
  }

  const exits = (rpc: Method, view: View) => (payload: unknown, options?: Options) => gather(rpc, view, false, payload, options)

  const fork = (rpc: Method, view: View) => (payload: unknown, options?: Options) =>
    Effect.withFiber((fiber) => {
      const mesh = view()
      return Effect.flatMap(
        isTraced(fiber) ? Effect.makeSpan(nameOf(rpc), spanOptions(rpc, mesh)) : Effect.undefined,
        (span) =>
          asking(rpc, span, (asked) =>
            Effect.uninterruptibleMask((restore) =>
              Effect.gen(function*() {
                const clock = yield* Clock.Clock
                const replies = mesh.ranks.map(() => Deferred.makeUnsafe<any, CallError<any>>())
                const handed = Deferred.makeUnsafe<void>()
                let left = replies.length
                // The call lasts until its last fiber has ended, whatever becomes of the others.
                let worst: Exit.Exit<unknown, unknown> = Exit.void
                const ended = (exit: Exit.Exit<unknown, unknown>): void => {
                  if (exit._tag === "Failure") worst = exit
                  if (--left === 0) span?.end(clock.currentTimeNanosUnsafe(), worst)
                }
                const { stop } = start(rpc, mesh, payload, {
                  exit: (index, exit) => Deferred.doneUnsafe(replies[index]!, exit),
                  handed: () => Deferred.doneUnsafe(handed, Exit.void)
                }, asked)
                const fibers = yield* Effect.forEach(replies, (reply, index) =>
                  restore(within(options?.timeout, (reason) => stop(reason, index), Deferred.await(reply))).pipe(
                    Effect.onInterrupt(() => Effect.sync(() => stop(undefined, index))),
                    Effect.onExit((exit) => Effect.sync(() => ended(exit))),
                    Effect.forkChild({ startImmediately: true })
                  ))
                yield* Effect.onInterrupt(restore(Deferred.await(handed)), () => Effect.sync(() => stop()))
                return fibers
              })
            ))
      )
    })

  const stream = (rpc: Method, view: View) => (payload: unknown, options?: Options): Stream.Stream<any, CallError<any>> =>
    Stream.unwrap(
      Effect.withFiber((fiber) => {
        const mesh = view()
        return Effect.flatMap(
          isTraced(fiber) ? Effect.makeSpanScoped(nameOf(rpc), spanOptions(rpc, mesh)) : Effect.undefined,
          (span) => asking(rpc, span, (asked) => elements(rpc, mesh, payload, options, asked))
        )
      })
    )

  const elements = (rpc: Method, mesh: Mesh.Any, payload: unknown, options: Options | undefined, asked: Asked) =>
    Effect.gen(function*() {
      const places = mesh.ranks.map((_, index) => Mesh.place(mesh, index))
      const streams = codecs.get(rpc._tag)!.streams
      // Bounded by the protocol: a rank sends its next elements when the reader has taken the last.
      const queue = yield* Queue.unbounded<() => ReadonlyArray<unknown>, CallError<any> | Cause.Done>()
      let left = mesh.ranks.length
      const sink: Sink = {
        exit: (index, exit) => {
          if (exit._tag === "Failure") return void Queue.failCauseUnsafe(queue, exit.cause)
          if (!streams) Queue.offerUnsafe(queue, () => [{ ...places[index]!, value: exit.value }])
          if (--left === 0) Queue.endUnsafe(queue)
        },
        // Acknowledged when the reader takes it: a slow reader stops this method's producers and nothing else.
        chunk: (index, values, ack) =>
          Queue.offerUnsafe(queue, () => {
            ack()
            return values.map((value) => ({ ...places[index]!, value }))
          })
      }
      const { stop } = yield* Effect.acquireRelease(
        Effect.sync(() => start(rpc, mesh, payload, sink, asked)),
        ({ stop }) => Effect.sync(() => stop())
      )
      if (options?.timeout !== undefined) yield* Effect.forkScoped(within(options.timeout, stop, Effect.never))
      return Stream.fromQueue(queue).pipe(Stream.map((take) => take()), Stream.flattenIterable)
    })

  const broadcast = (rpc: Method, view: View) => (payload: unknown) =>
    spanned(rpc, view, (asked, mesh) =>
      Effect.callback<void, CallError<any>>((resume) => {
        let handed = false
        const { stop } = start(rpc, mesh, payload, {
          // What cannot be handed over is the caller's to know; what happens afterwards is nobody's.
          exit: (_, exit) => {
            if (!handed && exit._tag === "Failure") resume(exit)
          },
          handed: () => {
            handed = true
            resume(Exit.void)
          },
          awaits: () => handed ? Infinity : 1
        }, asked)
        return Effect.sync(() => stop())
      }))

  /** Built when first asked for: a slice costs nothing but its ranks. */
  const adverb = (view: View, f: (rpc: Method, view: View) => unknown) => {
    const record = Object.create(null)
    for (const rpc of methods) record[rpc._tag] = f(rpc, view)
    return record
  }
  const lazily = (getters: Record<string, () => unknown>): any => {
    const self = {}
    for (const [name, get] of Object.entries(getters)) {
      Object.defineProperty(self, name, {
        configurable: true,
        enumerable: true,
        get: () => {
          const value = get()
          Object.defineProperty(self, name, { value, enumerable: true })
          return value
        }
      })
    }
    return self
  }

  const actor = (view: View) => {
    const self = lazily({
      call: () =>
        adverb(
          view,
          (rpc) => (payload: unknown, o?: Options) => Effect.map(gather(rpc, view, true, payload, o), (replies) => replies[0])
        ),
      stream: () =>
        adverb(view, (rpc) => (payload: unknown, o?: Options) => Stream.map(stream(rpc, view)(payload, o), (reply) => reply.value)),
      broadcast: () => adverb(view, broadcast)
    })
    return Object.defineProperty(self, "rank", { enumerable: true, get: () => view().ranks[0] })
  }
  const place = (mesh: Mesh.Any, at: number | Mesh.Coordinates<string>): Mesh.Any => {
    const index = mesh.ranks.indexOf(rankIn(mesh, at))
    return Mesh.slice(mesh, Mesh.place(mesh, index).coordinates as any)
  }
  const byName = (view: View) => (name: string, payload: unknown, options?: Options) => {
    const rpc = methods.find((rpc) => rpc._tag === name)
    const issue = rpc === undefined
      ? `no method ${name}; the protocol has ${methods.map((rpc) => rpc._tag).join(", ")}`
      : codecs.get(name)!.streams
      ? `${name} is a streaming method, and a call has one reply a rank; use stream`
      : typeof payload === "function"
      ? "a payload by name is plain data, one for all ranks"
      : undefined
    if (rpc !== undefined && issue === undefined) return call(rpc, view)(payload, options)
    return Effect.fail(new CallError({ method: name, rank: view().ranks[0]!, reason: new CallRejected({ side: "driver", issue: issue! }) }))
  }
  const over = (view: View): any => {
    const self = lazily({
      call: () => adverb(view, call),
      exits: () => adverb(view, exits),
      fork: () => adverb(view, fork),
      stream: () => adverb(view, stream),
      broadcast: () => adverb(view, broadcast)
    })
    Object.defineProperty(self, "mesh", { enumerable: true, get: view })
    return Object.assign(self, {
      callByName: byName(view),
      slice: (selector: any) => over(selecting(view, (mesh) => Mesh.slice(mesh, selector))),
      at: (at: number | Mesh.Coordinates<string>) => actor(selecting(view, (mesh) => place(mesh, at)))
    })
  }
  return over(Object.assign(() => audience.mesh, { reached: () => audience.reached }))
}
