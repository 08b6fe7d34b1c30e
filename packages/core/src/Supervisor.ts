/**
 * Supervision trees: groups of groups. A supervisor starts its children in order, starts a child again when it fails, with those that the scope of its supervision takes along, and fails itself when that
 * happens too often. It is supervised in turn by being a child of another one, or by whoever waits for its `failure`.
 *
 * ```ts
 * const tree = yield* Supervisor.make({
 *   supervision: Supervision.restart({ max: 3, per: "1 minute", scope: "rest" }),
 *   children: { store: WorkerGroup.make(Store, …), front: WorkerGroup.make(Front, …) }
 * })
 * const store = yield* tree.get("store")
 * ```
 *
 * SV-1 to SV-4 of `SEMANTICS.md`. `rest` reads the children in the order in which they are written: one that uses another stands after it.
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as internal from "./internal/supervisorTree.ts"
import type { Escalate, Restart } from "./Supervision.ts"

/** What can be a child: anything that says when it has failed, a `WorkerGroup` or another `Supervisor`. */
export interface Supervised<out E> {
  /** Fails once, with the cause; never succeeds. */
  readonly failure: Effect.Effect<never, E>
}

/** How the children are made, by name: each in a scope of its own, which is closed when the child is to go. */
export type Children = Readonly<Record<string, Effect.Effect<Supervised<unknown>, unknown, any>>>

/** What happened to a child. */
export interface Event {
  readonly _tag: "Started" | "Failed" | "Stopped"
  readonly child: string
  /** How often it had been started before. */
  readonly restarts: number
  /** Of `Failed`: what with. */
  readonly cause?: unknown
}

/** A supervisor's own failure: a child's, once too often, or its start's. */
export type ChildError<C extends Children> = {
  [K in keyof C]: C[K] extends Effect.Effect<Supervised<infer E>, infer E2, any> ? E | E2 : never
}[keyof C]

/** Running children. */
export interface Supervisor<C extends Children> extends Supervised<ChildError<C>> {
  /** The child as it is now; waits while it is being started again, and fails when the supervisor has. Ask again after its `failure`. Interrupts who asks when the supervisor has ended. */
  readonly get: <K extends keyof C>(child: K) => Effect.Effect<Effect.Success<C[K]>, ChildError<C>>
  /** Starts, failures and stops; a late listener is told the last 256. Ends with the supervisor. */
  readonly events: Stream.Stream<Event>
}

/** What `make` takes. */
export interface Options<C extends Children> {
  /** What a child's failure leads to; `scope` means children here. Default: `Supervision.escalate`. */
  readonly supervision?: Restart | Escalate | undefined
  /** In the order of starting; they are stopped in the reverse order. */
  readonly children: C
}

/** Starts the children one after another; a child that cannot be started fails this, and those before it are stopped. Its scope's end stops all, the last one first. */
export const make: <const C extends Children>(
  options: Options<C>
) => Effect.Effect<Supervisor<C>, ChildError<C>, Effect.Services<C[keyof C]> | Scope.Scope> = internal.make as any
