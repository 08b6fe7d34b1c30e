import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { escalate } from "../Supervision.ts"
import type { Children, Event, Options, Supervised } from "../Supervisor.ts"
import * as elapsed from "./elapsed.ts"
import * as intensity from "./intensity.ts"

interface Child {
  readonly name: string
  readonly index: number
  readonly start: Effect.Effect<Supervised<unknown>, unknown>
  scope: Scope.Closeable | undefined
  /** The running child, or the one to come. */
  current: Deferred.Deferred<Supervised<unknown>, unknown>
  starts: number
}

/** A child has failed; `start` is which of its starts it was. */
interface Failure {
  readonly child: Child
  readonly start: number
  readonly cause: Cause.Cause<unknown>
}

const remembered = 256

export const make = Effect.fn("Supervisor.make")(function*(options: Options<Children>) {
  const policy = options.supervision ?? escalate
  const context = yield* Effect.context<never>()
  const news = yield* Effect.acquireRelease(PubSub.unbounded<Event>({ replay: remembered }), PubSub.shutdown)
  const tell = (_tag: Event["_tag"], { name, starts }: Child, cause?: Cause.Cause<unknown>): void =>
    void PubSub.publishUnsafe(news, {
      _tag,
      child: name,
      restarts: starts - 1,
      ...(cause === undefined ? {} : { cause: Cause.squash(cause) })
    })
  const failure = Deferred.makeUnsafe<never, unknown>()
  const failures = yield* Queue.unbounded<Failure>()
  const children = Object.entries(options.children).map(([name, start], index): Child => ({
    name,
    index,
    start: Effect.provideContext(start, context) as Effect.Effect<Supervised<unknown>, unknown>,
    scope: undefined,
    current: Deferred.makeUnsafe(),
    starts: 0
  }))

  const stop = Effect.fnUntraced(function*(child: Child) {
    const { scope } = child
    if (scope === undefined) return
    child.scope = undefined
    if (Deferred.isDoneUnsafe(child.current)) child.current = Deferred.makeUnsafe()
    yield* Scope.close(scope, Exit.void)
    tell("Stopped", child)
  }, Effect.uninterruptible)

  const start = Effect.fnUntraced(function*(child: Child) {
    const scope = child.scope = yield* Scope.make()
    const nth = ++child.starts
    const supervised = yield* Scope.provide(child.start, scope)
    tell("Started", child)
    Deferred.doneUnsafe(child.current, Exit.succeed(supervised))
    yield* supervised.failure.pipe(
      Effect.catchCause((cause) => Queue.offer(failures, { child, start: nth, cause })),
      Effect.forkIn(scope, { startImmediately: true })
    )
  })

  const giveUp = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
    Effect.sync(() => {
      Deferred.doneUnsafe(failure, Exit.failCause(cause))
      for (const { current } of children) Deferred.doneUnsafe(current, Exit.failCause(cause))
    })

  const affected = (failed: Child): ReadonlyArray<Child> =>
    policy._tag === "Escalate" || policy.scope === "one"
      ? [failed]
      : policy.scope === "all"
      ? children
      : children.slice(failed.index)

  const admitted = intensity.make(yield* elapsed.make)
  /** One failure after another: whoever is taken along by one is not restarted by its own as well. */
  const supervise = Effect.gen(function*() {
    while (true) {
      const { start: nth, ...first } = yield* Queue.take(failures)
      let { cause, child } = first
      if (child.starts !== nth || child.scope === undefined) continue
      while (true) {
        tell("Failed", child, cause)
        const wait = policy._tag === "Escalate" ? undefined : admitted(policy)
        if (wait === undefined) return yield* giveUp(cause)
        const along = affected(child)
        for (const each of along.toReversed()) yield* stop(each)
        if (wait > 0) yield* Effect.sleep(wait)
        const failed = yield* startAll(along)
        if (failed === undefined) break
        // One that cannot be started has failed once more.
        child = failed.child
        cause = failed.cause
      }
    }
  })
  const startAll = Effect.fnUntraced(function*(some: ReadonlyArray<Child>) {
    for (const child of some) {
      const exit = yield* Effect.exit(start(child))
      if (exit._tag === "Failure") return { child, cause: exit.cause }
    }
    return undefined
  })

  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      Effect.forEach(children.toReversed(), stop, { discard: true }),
      // Whoever waits for a child need not wait any longer.
      Effect.sync(() => {
        for (const { current } of children) Deferred.doneUnsafe(current, Exit.interrupt())
      })
    )
  )
  for (const child of children) yield* start(child)
  yield* Effect.forkScoped(supervise)
  return {
    failure: Deferred.await(failure),
    events: Stream.fromPubSub(news),
    get: (name: string) =>
      Effect.suspend((): Effect.Effect<unknown, unknown> =>
        Deferred.isDoneUnsafe(failure) ? Deferred.await(failure) : Deferred.await(children.find((child) => child.name === name)!.current)
      )
  }
})
