import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Milliseconds on a clock that nobody sets: only differences count. The time of day jumps, when it is corrected or a machine goes on after a pause. */
export type Elapsed = () => number

export const make: Effect.Effect<Elapsed> = Effect.map(Clock.Clock, (clock) => () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6)
