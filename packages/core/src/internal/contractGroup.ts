/**
 * The group of four that a case of the contract works on: one of its own, or one that every case before it has left as it had found it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Cluster from "../Cluster.ts"
import * as Mesh from "../Mesh.ts"
import { type Frame, MessageQueues, type Publisher, type PublisherOptions } from "../MessageQueues.ts"
import * as WorkerGroup from "../WorkerGroup.ts"
import { Probe } from "./contractProtocol.ts"

export type Requirements = Cluster.Cluster | MessageQueues

export type Group = WorkerGroup.WorkerGroup<typeof Probe, "dp" | "tp">

/** The seam, with what passed through it and the means to say it again. */
export interface Tap {
  /** In the order heard, since the case began. */
  readonly heard: Array<{ readonly rank: number; readonly frame: Frame }>
  readonly driver: PublisherOptions
  readonly publisher: Publisher
}

export type Body = (group: Group, tap: Tap) => Effect.Effect<void, unknown, Scope.Scope>

/** The worker's module. */
export const entry: URL = new URL("./contractWorker.ts", import.meta.url)

const start = Effect.fnUntraced(function*(window?: WorkerGroup.Options<typeof Probe, "dp" | "tp">["window"]) {
  const queues = yield* MessageQueues
  const heard: Array<{ rank: number; frame: Frame }> = []
  let tap: Tap | undefined
  const group = yield* Effect.provideService(
    WorkerGroup.make(Probe, { mesh: Mesh.make({ dp: 2, tp: 2 }), entry, name: "contract", capacity: 6, window }),
    MessageQueues,
    {
      ...queues,
      open: (driver) =>
        Effect.map(
          queues.open({
            ...driver,
            receive: (rank, frame) => {
              heard.push({ rank, frame })
              driver.receive(rank, frame)
            }
          }),
          (publisher) => {
            tap = { heard, driver, publisher }
            return publisher
          }
        )
    }
  )
  return { group, tap: tap! }
})
type Started = Effect.Success<ReturnType<typeof start>>

/** A group of the case's own, which ends with it. */
export const alone = (window: Parameters<typeof start>[0], body: Body): Effect.Effect<void, unknown, Requirements> =>
  Effect.scoped(Effect.flatMap(start(window), ({ group, tap }) => body(group, tap)))

/** Lends one group to one case after another. One that a case may end workers of is lent to no other after it. */
export class Shared extends Context.Service<Shared, {
  readonly lend: (body: Body, may: "restore" | "end") => Effect.Effect<void, unknown>
}>()("@phalanx/core/Contract/Shared") {}

export const makeShared = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const context = yield* Effect.context<Requirements>()
  let kept: { readonly started: Started; readonly life: Scope.Closeable } | undefined

  const borrow = Effect.gen(function*() {
    if (kept !== undefined) return kept
    const life = yield* Scope.fork(scope)
    const started = yield* Effect.onError(Scope.provide(start(), life), (cause) => Scope.close(life, Exit.failCause(cause)))
    return kept = { started, life }
  })
  /** Waits until all that was asked has ended, and makes every rank forget it. A case that leaves a rank unable to do so has failed. */
  const restore = ({ group, tap }: Started) =>
    Effect.andThen(group.call.forget(undefined, { timeout: "10 seconds" }), Effect.sync(() => void (tap.heard.length = 0)))

  const lend = (body: Body, may: "restore" | "end") =>
    Effect.flatMap(borrow, ({ life, started }) =>
      Effect.scoped(body(started.group, started.tap)).pipe(
        Effect.andThen(may === "restore" ? restore(started) : Effect.void),
        // What a failed case has left may not become the next one's failure.
        Effect.onExit((exit) => {
          if (may === "restore" && Exit.isSuccess(exit)) return Effect.void
          kept = undefined
          return Scope.close(life, exit)
        })
      ))
  return Shared.of({ lend: (body, may) => Effect.provideContext(lend(body, may), context) })
})

/** The shared group if there is one, else one of the case's own. */
export const anyGroup = (body: Body, may: "restore" | "end"): Effect.Effect<void, unknown, Requirements> =>
  Effect.flatMap(
    Effect.serviceOption(Shared),
    Option.match({ onNone: () => alone(undefined, body), onSome: ({ lend }) => lend(body, may) })
  )
