/**
 * What a group does in order to be resized: the two-phase scheme, in which everything that takes long happens beside the membership that serves, and
 * only the commit is felt.
 *
 * Every step may be run again: its process may have been killed while it ran. Steps are judged by the epoch that they make.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { ResizeError } from "./ElasticError.ts"

/** Sizes by dimension. */
export const Shape = Schema.Record(Schema.String, Schema.Int)
export type Shape = typeof Shape.Type

/** Where to go: another shape, or the same group without these members. */
export const Request = Schema.Union([
  Schema.Struct({ to: Shape }),
  Schema.Struct({ leave: Schema.Array(Schema.Int) })
])
export type Request = typeof Request.Type

/** Who serves: the epoch, its shape, and the ids of its members in rank order. */
export const Serving = Schema.Struct({
  epoch: Schema.Int,
  shape: Shape,
  members: Schema.Array(Schema.Int)
})
export type Serving = typeof Serving.Type

/** One change of size. */
export interface Resize {
  readonly operation: string
  readonly request: Request
  /** Who serves meanwhile. */
  readonly from: Serving
  /** The epoch to make. */
  readonly epoch: number
  /** Says how far the step is, for whoever watches: so many of so many bytes, ranks or whatever `what` names. */
  readonly report: (progress: Progress) => Effect.Effect<void>
}

/** How far a step is. */
export const Progress = Schema.Struct({ what: Schema.String, done: Schema.Finite, total: Schema.Finite })
export type Progress = typeof Progress.Type

/** What a commit cost. */
export const Committed = Schema.Struct({
  /** How long no token was written, in milliseconds. */
  pauseMillis: Schema.Finite,
  /** Who served right after it; left out, it is who serves when it is done, which a death may have changed. */
  to: Schema.optionalKey(Serving)
})
export type Committed = typeof Committed.Type

/** A group that can be resized. `prepare`, `copy` and `ready` may be interrupted; `abort` follows whatever they have left. */
export class Resizable extends Context.Service<Resizable, {
  /** What the group is called in the journal, in every process that ever drives it. */
  readonly group: string
  /** Who serves now. */
  readonly serving: Effect.Effect<Serving>
  /** Reserves, starts and connects what the next epoch needs and this one has not. */
  readonly prepare: (resize: Resize) => Effect.Effect<void, ResizeError>
  /** Brings weights, experts and requests where the next epoch needs them. */
  readonly copy: (resize: Resize) => Effect.Effect<void, ResizeError>
  /** Succeeds when every member of the next epoch could serve at once. */
  readonly ready: (resize: Resize) => Effect.Effect<void, ResizeError>
  /**
   * Makes the next epoch the one that serves, between two steps. Where it is so already it does nothing; where it was aborted, or another epoch serves, it fails for
   * good. A successor, which has prepared nothing for a commit that was decided, prepares anew.
   */
  readonly commit: (resize: Resize) => Effect.Effect<Committed, ResizeError>
  /** Ends and releases what the last epoch needed and this one does not. */
  readonly retire: (resize: Resize) => Effect.Effect<void, ResizeError>
  /** Undoes what was done for the next epoch, however much that is; nothing where it serves already. */
  readonly abort: (resize: Resize) => Effect.Effect<void, ResizeError>
}>()("@phalanx/elastic/Resizable") {}
