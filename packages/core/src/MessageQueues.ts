/**
 * Carries frames between a driver and its ranks, and between ranks. The service is the seam under every call: values handed over
 * in memory here, shared memory and TCP in `@phalanx/queue`.
 *
 * A group has one request queue (the driver writes a frame once, the ranks it names read it), one control lane a rank, which never
 * waits behind requests, and one reply lane a rank. Everything on this seam is synchronous: nothing here suspends a caller, because the
 * group admits a bounded number of requests and bytes a rank before it publishes (CO-7), so that what a transport has to keep while
 * a reader is behind is bounded too.
 *
 * What a transport promises, and the tests that bear these labels show:
 * - MQ-1: a rank receives the frames that name it, once each, in the order of `publish`; control frames in the order of `control`.
 * - MQ-2: a control frame is delivered although the rank has read none of the requests before it.
 * - MQ-3: a reader that is behind delays no other rank for longer than 50 ms.
 * - MQ-4: bytes that are not a frame are told to `malformed` or `lost` and harm that peer alone.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as memory from "./internal/memoryQueues.ts"
import { QueueError } from "./QueueError.ts"
import type { Snapshot } from "./Snapshot.ts"

export {
  /** A queue could not be made, opened or used. */
  QueueError
}

/** Plain data: `null`, booleans, numbers, strings, `Uint8Array`s, arrays and records of these. */
export type Frame = ReadonlyArray<unknown>

/** A frame in the form its transport carries, made once however many ranks it goes to. */
export interface Packed {
  /** Size on the wire, in bytes. */
  readonly bytes: number
  /** Called before it is set aside, that is, if it is not published before the next `pack`. */
  readonly keep?: () => void
}

/** All that a reader needs to attach: plain data, which travels to the worker when it is spawned. */
export const Handle = Schema.Struct({
  /** Which kind of transport made it: `memory`, `shm`, `tcp`. */
  transport: Schema.String,
  /** What that transport says of itself. */
  data: Schema.Json
})
export type Handle = typeof Handle.Type

/** What a process's end of the queues has done since it was made, by name; names and units are the transport's own. All of a process's groups count together where they share it. */
export type Stats = Readonly<Record<string, number>>

/** The driver's end of one group's queues. */
export interface Publisher {
  /** The transport's name, as shown to people. */
  readonly transport: string
  /** Throws only if the frame is not plain data. */
  readonly pack: (frame: Frame) => Packed
  /** The frame that was packed. */
  readonly unpack: (packed: Packed) => Frame
  /** Appends a frame to the request queue for the ranks named. */
  readonly publish: (packed: Packed, ranks: ReadonlyArray<number>) => void
  /** Sends a frame on a rank's control lane. */
  readonly control: (rank: number, frame: Frame) => void
  /** Opens the lanes of a rank's next incarnation, which reads what is published from now on; the former one's are closed. */
  readonly connect: (rank: number, incarnation: number) => Effect.Effect<Handle, QueueError>
  /**
   * The process of a rank's incarnation has ended: resolves when what it had sent before has been delivered. At once where that can be known, else
   * within 5 ms. What a worker said before it died still counts, unless its lanes had been closed before.
   */
  readonly drain: (rank: number, incarnation: number) => Effect.Effect<void>
  /** The rank is gone: nothing waits for it any more, and what was meant for it is dropped. Its process may still run. */
  readonly disconnect: (rank: number) => void
  /** Its numbers, if it keeps any. */
  readonly stats?: (() => Stats) | undefined
  /** `awaited` has another answer now: what sleeps by the former one must not sleep on. */
  readonly look?: (() => void) | undefined
}

/** What a driver opens a group's queues with. */
export interface PublisherOptions {
  /** Names the group in segments, sockets and errors; made of letters, digits and `-`. */
  readonly group: string
  /** 16 random bytes in hexadecimal, known to the group's processes only; keys of an encrypted transport may be derived from it. */
  readonly secret: string
  /** How many ranks may be connected at once. */
  readonly ranks: number
  /** Hears every frame of every rank. Called from the event loop; must not throw. */
  readonly receive: (rank: number, frame: Frame) => void
  /** A rank sent bytes that are not a frame, or its connection is lost for good; its lanes are closed. */
  readonly lost: (rank: number, issue: string) => void
  /** A process whose lanes have been closed speaks all the same; nothing of it was delivered. */
  readonly fenced?: ((rank: number) => void) | undefined
  /** Whether another driver has taken the group over: then its files and workers are that one's, and nobody is told goodbye. */
  readonly replaced?: (() => boolean) | undefined
  /** What the group does at the moment, for a cluster that lets others see it. */
  readonly snapshot?: (() => Snapshot) | undefined
  /**
   * How many more frames that count this driver has to have before it can go on, of all ranks together; a transport may let it sleep until then.
   * 0: it waits for none. Left out: it has something to do after each.
   */
  readonly awaited?: (() => number) | undefined
}

/** A worker's end. */
export interface Subscriber {
  /**
   * Sends a frame to the driver. Bounded by the window of open requests, so it never suspends. One that `counts` is one of those that the
   * driver's `awaited` speaks of; any other one wakes the driver.
   */
  readonly send: (frame: Frame, counts?: boolean) => void
  /** Resolves when everything sent has been handed to the transport. */
  readonly flush: Effect.Effect<void>
  /** Its numbers, if it keeps any. */
  readonly stats?: (() => Stats) | undefined
}

/** What a worker attaches with. */
export interface SubscriberOptions {
  /** Hears requests and control frames. Called from the event loop; must not throw. */
  readonly receive: (frame: Frame) => void
  /** The driver sent bytes that are not a frame, or replaced this incarnation; or, if `broken`, the connection to it is lost for good, be it that it is gone. */
  readonly lost: (issue: string, broken?: boolean) => void
}

/** A rank's own end of the lanes between ranks, before the others' are known. */
export interface Peers {
  /** What the other ranks need to reach this one. */
  readonly handle: Handle
  /**
   * Connects to the ranks of one generation, in rank order; the entry of this rank itself is ignored. With `to`, only to the ranks that it names: the others are reached by
   * other means.
   */
  readonly connect: (handles: ReadonlyArray<Handle>, to?: ReadonlySet<number>) => Effect.Effect<PeerLanes, QueueError, Scope.Scope>
}

/** What a rank opens its lanes to the others with. */
export interface PeersOptions {
  readonly group: string
  readonly secret: string
  readonly rank: number
  readonly ranks: number
  /** Hears every message from another rank, in its order. `bytes` belong to the receiver. `channel` and `sequence` are the sender's. */
  readonly receive: (from: number, channel: number, sequence: number, bytes: Uint8Array) => void
  /** The lane from a rank is broken for good: nothing more will come on it. */
  readonly lost: (from: number, issue: string) => void
  /** How many more messages this rank has to have before it can go on; a transport may let it sleep until then. 0: it waits for none. */
  readonly awaited?: (() => number) | undefined
}

/** The lanes between ranks: one for each ordered pair. */
export interface PeerLanes {
  /** Copies `bytes` (0 … 2³¹ of them) to another rank's lane, or keeps a copy while the lane is full. Unsigned 32-bit `channel` and `sequence`. */
  readonly send: (to: number, channel: number, sequence: number, bytes: Uint8Array) => void
  /** `awaited` has another answer now: what sleeps by the former one must not sleep on. */
  readonly look?: (() => void) | undefined
}

/** The transport. A driver opens, workers attach by handle; one layer serves both ends. */
export class MessageQueues extends Context.Service<MessageQueues, {
  /** Opens a group's queues, for its driver; the scope's end closes them. */
  readonly open: (options: PublisherOptions) => Effect.Effect<Publisher, QueueError, Scope.Scope>
  /** Attaches a worker with the handle that `connect` gave. */
  readonly attach: (handle: Handle, options: SubscriberOptions) => Effect.Effect<Subscriber, QueueError, Scope.Scope>
  /** Opens a rank's lanes to the others. */
  readonly peers: (options: PeersOptions) => Effect.Effect<Peers, QueueError, Scope.Scope>
}>()("@phalanx/core/MessageQueues") {}

/** Frames are handed over as values, in the order sent, each after the code that sent it has run. Deterministic; for tests and for groups of fibers. */
export const layerMemory: Layer.Layer<MessageQueues> = Layer.sync(MessageQueues, () => MessageQueues.of(memory.make()))
