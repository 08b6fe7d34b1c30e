/**
 * Changes a group's size while it serves, as an operation that outlives its driver: everything is in the `Journal` before it happens or counts.
 *
 * ```
 * validate → prepare → copy → ready → decide │ commit → retire
 *                      any failure: abort    │ carried to its end
 * ```
 *
 * `decide` is the point of no return: one write of the journal. Before it a failure, a deadline, a cancel or the loss of the driver ends in the membership that
 * there was; after it only in the one that was asked for.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { CancelRefused, JournalError, OperationNotFound, ScaleConflict, ScaleFailed } from "./ElasticError.ts"
import * as Operations from "./internal/operations.ts"
import * as Journal from "./Journal.ts"
import * as JournalEngine from "./JournalEngine.ts"
import type { Scaled, Status } from "./Operation.ts"
import type { Request, Resizable } from "./Resizable.ts"
import * as Sqlite from "./Sqlite.ts"

/** What is asked for, under which name. The name is the caller's: asking again with it is asking for the same. */
export type Options = Request & {
  readonly operation: string
  /** How long an operation may take to get to its point of no return. Default: for ever. */
  readonly deadline?: Duration.Input | undefined
}

/** Operations on the groups of one journal. */
export class Elastic extends Context.Service<Elastic, {
  /**
   * Brings a group to another size and tells how that went. An operation that has ended tells so again; one that runs is joined. Interrupting the caller leaves the
   * operation to go on.
   */
  readonly scale: (group: Resizable["Service"], options: Options) => Effect.Effect<Scaled, ScaleFailed | ScaleConflict | JournalError>
  /** How an operation stands, whichever process runs or ran it. */
  readonly status: (operation: string) => Effect.Effect<Status, OperationNotFound | JournalError>
  /** How an operation stands from now on, until it has ended; where another process runs it, as the journal knows it, looked up twice a second. */
  readonly progress: (operation: string) => Stream.Stream<Status, OperationNotFound | JournalError>
  /** Calls an operation off. It is refused past the point of no return; done when it is written down, before the group is back. */
  readonly cancel: (operation: string) => Effect.Effect<void, OperationNotFound | CancelRefused | JournalError>
  /**
   * Takes up what a driver that is gone has left unfinished of this group: back if it had not come to the point of no return, forward if it had. None if there is
   * nothing. The caller sees to it that no other process drives the group.
   */
  readonly adopt: (group: Resizable["Service"]) => Effect.Effect<Option.Option<Scaled>, ScaleFailed | JournalError>
  /**
   * Forgets operations that ended longer ago than that, and answers how many they were; without it a journal grows for ever. Their names are free again: whoever asks for one of them later begins another
   * operation. Lines that cannot be read stay.
   */
  readonly forget: (age: Duration.Input) => Effect.Effect<number, JournalError>
}>()("@phalanx/elastic/Elastic") {}

/** See `Elastic`. */
export const scale = (group: Resizable["Service"], options: Options) => Effect.flatMap(Elastic, (elastic) => elastic.scale(group, options))
/** See `Elastic`. */
export const status = (operation: string) => Effect.flatMap(Elastic, (elastic) => elastic.status(operation))
/** See `Elastic`. */
export const progress = (operation: string) => Stream.unwrap(Effect.map(Elastic, (elastic) => elastic.progress(operation)))
/** See `Elastic`. */
export const cancel = (operation: string) => Effect.flatMap(Elastic, (elastic) => elastic.cancel(operation))
/** See `Elastic`. */
export const adopt = (group: Resizable["Service"]) => Effect.flatMap(Elastic, (elastic) => elastic.adopt(group))
/** See `Elastic`. */
export const forget = (age: Duration.Input) => Effect.flatMap(Elastic, (elastic) => elastic.forget(age))

/** Operations over a journal. */
export const layer: Layer.Layer<Elastic, never, Journal.Journal> = Layer.effect(Elastic, Effect.map(Operations.make, Elastic.of)).pipe(
  Layer.provide(JournalEngine.layer)
)

/** Operations over a journal in a file. */
export const layerSqlite = (options: Sqlite.Options): Layer.Layer<Elastic | Journal.Journal, JournalError> =>
  layer.pipe(Layer.provideMerge(Journal.layer), Layer.provide(Sqlite.layer(options)))
