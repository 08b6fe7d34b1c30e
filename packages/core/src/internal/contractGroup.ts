/**
 * The group that a case of the contract works on: one of four of its own, or one that the cases before it have left in a state that it can have.
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

/** What cases can make of a group: as it was started, gone on without its first slice, grown by one, or without rank 1. */
export type State = "new" | "shrunk" | "grown" | "bereft"

/** The groups that a case can have, and what it leaves; none if nobody can have it after that. */
export interface Use {
  readonly takes: ReadonlyArray<State>
  readonly leaves: State | undefined
}

/** Of cases that leave a group as they have found it. */
export const restoring: Use = { takes: ["new"], leaves: "new" }

const start = Effect.gen(function*() {
  const queues = yield* MessageQueues
  const heard: Array<{ rank: number; frame: Frame }> = []
  let tap: Tap | undefined
  const group = yield* Effect.provideService(
    WorkerGroup.make(Probe, { mesh: Mesh.make({ dp: 2, tp: 2 }), entry, name: "contract", capacity: 6 }),
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
type Started = Effect.Success<typeof start>

/** Lends one group to one case after another, as long as it is in a state that the next one takes. */
export class Shared extends Context.Service<Shared, {
  readonly lend: (body: Body, use: Use) => Effect.Effect<void, unknown>
}>()("@phalanx/core/Contract/Shared") {}

export const makeShared = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const context = yield* Effect.context<Requirements>()
  interface Kept {
    readonly started: Started
    readonly life: Scope.Closeable
    readonly state: State
  }
  let kept: Kept | undefined

  /** What a failed case has left may not become the next one's failure. */
  const end = (life: Scope.Closeable, exit: Exit.Exit<unknown, unknown>) => {
    kept = undefined
    return Scope.close(life, exit)
  }
  const borrow = Effect.fnUntraced(function*(takes: ReadonlyArray<State>) {
    if (kept !== undefined && takes.includes(kept.state)) return kept
    if (kept !== undefined) yield* end(kept.life, Exit.void)
    const life = yield* Scope.fork(scope)
    const started = yield* Effect.onError(Scope.provide(start, life), (cause) => Scope.close(life, Exit.failCause(cause)))
    return kept = { started, life, state: "new" }
  })
  /** Waits until all that was asked has ended, and makes every rank forget it. A case that leaves a rank unable to do so has failed. */
  const restore = ({ group, tap }: Started, state: State) =>
    Effect.andThen(
      // A rank that has died remembers nothing.
      state === "bereft" ? Effect.void : group.call.forget(undefined, { timeout: "10 seconds" }),
      Effect.sync(() => void (tap.heard.length = 0))
    )

  const lend = (body: Body, { leaves, takes }: Use) =>
    Effect.flatMap(borrow(takes), ({ life, started }) =>
      Effect.scoped(body(started.group, started.tap)).pipe(
        Effect.andThen(leaves === undefined ? Effect.void : restore(started, leaves)),
        Effect.onExit((exit) => {
          if (leaves === undefined || Exit.isFailure(exit)) return end(life, exit)
          kept = { started, life, state: leaves }
          return Effect.void
        })
      ))
  return Shared.of({ lend: (body, use) => Effect.provideContext(lend(body, use), context) })
})

/** The shared group if there is one, else one of the case's own, which ends with it. */
export const anyGroup = (body: Body, use: Use): Effect.Effect<void, unknown, Requirements> =>
  Effect.flatMap(
    Effect.serviceOption(Shared),
    Option.match({
      onNone: () => Effect.scoped(Effect.flatMap(start, ({ group, tap }) => body(group, tap))),
      onSome: ({ lend }) => lend(body, use)
    })
  )
