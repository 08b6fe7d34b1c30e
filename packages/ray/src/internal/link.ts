/**
 * The bridge through its lives: starts it, tells what its end means to the workers that it knew, and starts the next one when somebody asks.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { RayError } from "../RayError.ts"
import * as Bridge from "./bridge.ts"
import type { Answers, Params } from "./protocol.ts"

export interface Link {
  /** The bridge that lives; a new one if the last is gone. */
  readonly bridge: Effect.Effect<Bridge.Bridge, RayError>
  /** Asks a bridge that can know the worker; `undefined` if there is none, or it does not answer. */
  readonly tell: <M extends "signal" | "look" | "stop" | "claim">(method: M, params: Params[M]) => Effect.Effect<Answers[M] | undefined>
  /** From now on a worker's news go there; to nobody without a sink. */
  readonly hear: (worker: string, sink: Bridge.Sink | undefined) => void
}

/** The group of a worker, whose name ends with member and incarnation. */
const groupOf = (worker: string): string => worker.split(" ").slice(0, -2).join(" ")

/** Connects. With `ttl` the workers outlive a bridge, and the next one takes them over; without, they are gone with it. */
export const make = Effect.fnUntraced(function*(options: Omit<Bridge.Options, "sinks">) {
  const outer = yield* Effect.scope
  const detached = options.ttl > 0
  const sinks = new Map<string, Bridge.Sink>()
  const one = yield* Semaphore.make(1)
  let current: Bridge.Bridge | undefined
  let closing = false
  yield* Effect.addFinalizer(() => Effect.sync(() => void (closing = true)))

  const lose = (issue: string, except: ReadonlySet<string>): void => {
    for (const [worker, sink] of sinks) {
      if (except.has(worker)) continue
      sinks.delete(worker)
      sink.lost(issue)
    }
  }

  /** Who asks the next bridge for a worker of the last one must find it known there. */
  const inherit = Effect.fnUntraced(function*(bridge: Bridge.Bridge) {
    if (!detached || current === undefined) return
    const groups = [...new Set([...sinks.keys()].map(groupOf))]
    const found = yield* Effect.catch(bridge.ask("adopt", { groups }), () => Effect.succeed([]))
    lose("it was gone when the next bridge came", new Set(found.flatMap(({ workers }) => workers.map(({ worker }) => worker))))
    yield* Effect.ignore(bridge.ask("attend", { groups }))
  })

  const connect = Effect.fnUntraced(function*() {
    const scope = yield* Scope.fork(outer)
    const bridge = yield* Effect.onError(
      Scope.provide(Effect.tap(Bridge.make({ ...options, sinks }), inherit), scope),
      (cause) => Scope.close(scope, Exit.failCause(cause))
    )
    current = bridge
    yield* Effect.forkIn(
      Effect.flatMap(bridge.gone, (issue) => Effect.andThen(Scope.close(scope, Exit.void), Effect.suspend(() => after(issue)))),
      outer,
      { startImmediately: true }
    )
    return bridge
  })

  const bridge = one.withPermits(1)(Effect.suspend(() => current === undefined || current.isGone() ? connect() : Effect.succeed(current)))

  const after = (why: string): Effect.Effect<void> => {
    if (closing) return Effect.void
    const issue = `the bridge to Ray is gone: ${why}`
    options.news(issue)
    const forgotten = Effect.sync(() => lose(issue, new Set()))
    return detached ? Effect.asVoid(Effect.catch(bridge, () => forgotten)) : forgotten
  }

  yield* bridge
  return {
    bridge,
    tell: (method, params) =>
      Effect.suspend(() => detached || current === undefined ? bridge : Effect.succeed(current)).pipe(
        Effect.flatMap((bridge) => bridge.ask(method, params)),
        Effect.catch(() => Effect.undefined)
      ),
    hear: (worker, sink) => sink === undefined ? sinks.delete(worker) : sinks.set(worker, sink)
  } satisfies Link as Link
})
