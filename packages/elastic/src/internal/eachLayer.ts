/** Planning beside a driver that serves. */
import * as Effect from "effect/Effect"

/** Computes layer by layer, and lets the event loop have a turn after each, since a large model has seconds to plan. */
export const eachLayer = <A, B>(layers: ReadonlyArray<A>, compute: (layer: A, index: number) => B): Effect.Effect<Array<B>> =>
  Effect.forEach(layers, (layer, index) => Effect.andThen(Effect.yieldNow, Effect.sync(() => compute(layer, index))))
