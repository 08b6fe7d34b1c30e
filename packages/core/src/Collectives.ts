/**
 * Operations of all ranks together: each rank calls the same operation, in the same order, and each gets its result when all have
 * called it. They go from worker to worker on the lanes of `MessageQueues`, past the driver.
 *
 * Every operation is one exchange: a rank sends one message to each other rank, an empty one where it has nothing to say, and ends
 * when one has come from each. Hence the guarantees:
 * - CL-1: every rank gets what the operation says, in whatever order the lanes deliver.
 * - CL-2: `allReduce` combines in the order of `ranks` and has the same bits on every rank (payloads of NaN excepted).
 * - CL-3: communicators do not disturb each other and may be used at once, each by one fiber at a time.
 * - CL-4: ranks that call different operations, or the same with different shapes, all fail with `CollectiveAborted`, which names both.
 * - CL-5: when a generation is aborted, everything that waits fails at once, and so does every later operation: no survivor hangs.
 * - CL-6: no rank ends an operation before every rank has begun it. A peer is therefore one operation ahead at most, and one early
 *   message is kept for each peer; one that is further ahead is at fault and aborts the communicator.
 * - CL-7: an operation that is interrupted while it waits aborts its communicator on all members: a collective is all or nothing.
 *   Wrap it in `Effect.uninterruptible` where it must be waited for; CL-5 still ends it.
 * - CL-8: nothing is opened before the first operation, and only once whoever comes first.
 * - CL-9: a worker's layer may use them while it is built.
 * - CL-10: what ranks begin for different calls does not meet: all fail with `CollectiveAborted`, which names both calls.
 * - CL-11: a rank whose call ends without an operation that others began for it tells them at once, which aborts the communicator.
 *
 * An aborted communicator stays aborted. The world's comes back with the next generation (a restart or a resize makes one). An abort
 * can find one rank after an operation and another still in it, so that what is built of operations is committed by the driver, which
 * has everyone's reply.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { CollectiveAborted } from "./CollectiveAborted.ts"
import * as internal from "./internal/collectives.ts"

export {
  /** A collective operation ended without a result. */
  CollectiveAborted
}

/** What `allReduce` combines, element by element; numbers travel in the byte order of the machine. */
export type Numbers = Float32Array | Float64Array | Int32Array

/** How `allReduce` combines: a sum is rounded (or, of integers, wrapped) at each addition; the least and greatest of a NaN is NaN. */
export type Reduction = "sum" | "min" | "max"

/**
 * Some ranks that work together. Arguments must not change before the operation has ended. Arrays of bytes that came from a peer
 * belong to the caller and may start at any offset of their buffer.
 */
export interface Communicator {
  /** This rank's place in `ranks`. */
  readonly index: number
  /** The members, in the order in which results are given. */
  readonly ranks: ReadonlyArray<number>
  /** `parts[i]` goes to `ranks[i]`, and what `ranks[i]` had for this rank is `result[i]`. Lengths are free, 0 too; the own part is returned as is. */
  readonly allToAll: (
    parts: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<ReadonlyArray<Uint8Array>, CollectiveAborted>
  /** The bytes of each rank, in the order of `ranks`. Lengths are free; the own bytes are returned as they are. */
  readonly allGather: (bytes: Uint8Array) => Effect.Effect<ReadonlyArray<Uint8Array>, CollectiveAborted>
  /** Combines arrays of one type and length into a new one, by default their sum. `values` stays as it is. */
  readonly allReduce: <A extends Numbers>(values: A, reduction?: Reduction) => Effect.Effect<A, CollectiveAborted>
  /** The bytes of `root`, a member's rank. Only the root gives any, and gets them back; those given by others are ignored. */
  readonly broadcast: (root: number, bytes?: Uint8Array) => Effect.Effect<Uint8Array, CollectiveAborted>
  /** Ends when every rank has come to it. */
  readonly barrier: Effect.Effect<void, CollectiveAborted>
}

/** The ranks of the group, as one of them sees them: a communicator of all, from which smaller ones are split. */
export class Collectives extends Context.Service<
  Collectives,
  Communicator & {
    /**
     * A communicator of some ranks, this one among them; every member asks for it with the same list. Asked for again it is another one,
     * which the members must do equally often. It costs nothing until it is used and lives as long as the generation, so keep it.
     * Throws a `RangeError` if the list is empty, repeats a rank, or names none of this group or not this one.
     */
    readonly split: (ranks: ReadonlyArray<number>) => Communicator
    /** Bytes handed to the lane of each rank so far, by rank; 0 for this one. */
    readonly traffic: Effect.Effect<ReadonlyArray<number>>
  }
>()("@phalanx/core/Collectives") {}

/** Rank 0 of 1, for tests and for a model that runs alone. Needs no queues. */
export const layerAlone: Layer.Layer<Collectives> = Layer.sync(Collectives, () => Collectives.of(internal.makeAlone()))
