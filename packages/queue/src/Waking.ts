/**
 * What waking up costs on this machine: round trips between this process and others over nothing but a counter in shared memory, with each process's
 * doorbell for when the other sleeps. No frames, no codec: the floor under every number of this package.
 */
import type { QueueError } from "@phalanx/core/QueueError"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as internal from "./internal/waking.ts"

/** What is measured. */
export interface Options {
  /** How many processes answer; a round trip ends with the last answer. Default 1. */
  readonly processes?: number | undefined
  /** For how long everyone looks before it sleeps. Default zero: every turn goes through a doorbell, unless it wins the race. */
  readonly look?: Duration.Input | undefined
  /** How many round trips, of which the first tenth is left out. Default 3000. */
  readonly rounds?: number | undefined
}

/** Microseconds of each round trip, the shortest first. Starts the processes and ends them. Fails with `QueueError` without shared memory. */
export const measure: (options?: Options) => Effect.Effect<ReadonlyArray<number>, QueueError> = internal.measure
