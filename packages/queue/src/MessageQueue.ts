/**
 * A message queue that stands alone: one writer, a fixed number of readers in processes of this machine, every message to every reader, in order.
 *
 * ```ts
 * const writer = yield* MessageQueue.make({ readers: 4 })       // here
 * const reader = yield* MessageQueue.attach(writer.handle, 2)   // in another process, which was sent the handle
 * yield* writer.publish({ step: 1 })
 * const value = yield* reader.take
 * ```
 *
 * Nothing is dropped and nothing is skipped: a reader gets all that was published since `make`, whenever it attaches, and `publish` suspends
 * while the slowest reader leaves no room. Whoever must not be held up by a reader that died takes it out with `remove`.
 */
import type { QueueError } from "@phalanx/core/QueueError"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Handle, Places, QueueClosed, QueueTimeout } from "./internal/standalone.ts"
import * as standalone from "./internal/standalone.ts"
import * as standaloneReader from "./internal/standaloneReader.ts"
import * as standaloneWriter from "./internal/standaloneWriter.ts"

export { Behind, Handle, type Places, QueueClosed, QueueTimeout } from "./internal/standalone.ts"

/** What a queue is made with. */
export interface Options {
  /** How many readers there are, 1 to 1024; they are numbered from 0. */
  readonly readers: number
  /** Bytes of the ring, rounded up to a power of two; messages may be longer. Default 4 MiB. */
  readonly capacity?: number | undefined
  /** Where the segment is made: a memory-backed folder, an absolute path. Default `/dev/shm`. */
  readonly folder?: string | undefined
  /** Part of the segment's name: at most 64 letters, digits and `-`. Default `queue`. */
  readonly name?: string | undefined
  /** How long a reader looks for the next message before it sleeps, as of `ShmQueues`. Default 100 microseconds. */
  readonly spin?: Duration.Input | undefined
}

/** How one message is published. */
export interface PublishOptions {
  /** How long to wait for room; zero and less: not at all. Default: without end, with a line in the log every 60 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** The writing end. Closing its scope closes the queue; readers still get what was published. */
export interface Writer {
  /** What readers attach with. */
  readonly handle: Handle
  /** Publishes plain data: `null`, booleans, numbers, strings, `Uint8Array`s, arrays and records of these; dies of anything else. */
  readonly publish: (value: unknown, options?: PublishOptions) => Effect.Effect<void, QueueTimeout | QueueClosed>
  /** Publishes bytes, which must not change until this ends. */
  readonly publishBytes: (bytes: Uint8Array, options?: PublishOptions) => Effect.Effect<void, QueueTimeout | QueueClosed>
  /** Ends when every reader has attached or was removed. */
  readonly ready: Effect.Effect<void, QueueClosed>
  /** Waits for this reader no longer; it is told that the queue is closed, if it still lives. */
  readonly remove: (reader: number) => Effect.Effect<void>
  /** Closes the queue now. */
  readonly close: Effect.Effect<void>
}

/** A reading end. Closing its scope removes the reader. */
export interface Reader {
  /** The next message; bytes if it was published as such. One that is not MessagePack is a `QueueError`, and consumed. */
  readonly take: Effect.Effect<unknown, QueueClosed | QueueError>
  /** The next message as bytes of the caller's own; of a value, the MessagePack form of an array that holds it. */
  readonly takeBytes: Effect.Effect<Uint8Array, QueueClosed | QueueError>
  /** Every message from the next one on; ends when the queue is closed. */
  readonly stream: Stream.Stream<unknown, QueueError>
  /** Ends when every reader has attached or was removed. */
  readonly ready: Effect.Effect<void, QueueClosed>
}

/** Makes a queue of this process. Fails with `QueueError` if the folder has no room for it or is not writable. */
export const make: (options: Options) => Effect.Effect<Writer, QueueError, Scope.Scope> = standaloneWriter.make

/** Attaches as one of the readers, each of which attaches once. Fails with `QueueError` if the handle does not fit or the queue is gone. */
export const attach: (handle: unknown, reader: number) => Effect.Effect<Reader, QueueError, Scope.Scope> = standaloneReader.attach

/** Where the writer and this reader find what they share, for an end in another language, which keeps to `WIRE.md`: plain data, to go with the handle. */
export const places: (handle: Handle, reader: number) => Places = standalone.places
