/**
 * What a generator lets be changed about its ranks, for those who move experts and requests: `ElasticRanks` and `Rebalance`.
 */
import type * as Effect from "effect/Effect"
import type * as MutableRef from "effect/MutableRef"
import type { GenerationError } from "./Generator.ts"
import type { Slots } from "./Moe.ts"
import type * as Scheduler from "./Scheduler.ts"

/** Who owns what on the ranks, and the moments between two steps at which that can change. */
export interface Seating {
  /** Where experts lie now, in the present rank order. */
  readonly slots: () => Slots
  /** The requests that run at each coordinate of `dp`. */
  readonly running: () => ReadonlyArray<ReadonlyArray<number>>
  /** Runs an effect when all replies are in and no step is out. Steps go on after it. Interrupting it takes it back, or interrupts the effect. */
  readonly between: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | GenerationError>
  /** Goes on with the ranks' present membership and these slots. `homes`: coordinates of `dp` of requests that have got another owner; those of one that is gone are computed anew. Only in `between`. */
  readonly reseat: (slots: Slots, homes: ReadonlyMap<number, number>) => void
  /** Who moves experts, from the first that is given until all have their places: a change of size, or a `Rebalance`, from which a change of size takes it. */
  readonly mover: MutableRef.MutableRef<symbol | undefined>
  /** See `Scheduler`. */
  readonly bound: Scheduler.Scheduler["bound"]
}
