/**
 * Where experts go when the ranks are others.
 */
import type * as Capacity from "@phalanx/elastic/Capacity"
import type { Load } from "@phalanx/elastic/ExpertLoad"
import * as ExpertMap from "@phalanx/elastic/ExpertMap"
import * as Placement from "@phalanx/elastic/Placement"
import * as Effect from "effect/Effect"
import type { Slots } from "../Moe.ts"
import { size } from "./size.ts"

export interface Options {
  readonly slots: Slots
  /** Member ids in rank order, of now and of then. */
  readonly before: ReadonlyArray<number>
  readonly after: ReadonlyArray<number>
  /** Default: all experts alike. */
  readonly load?: Load | undefined
  readonly capacity: Capacity.Capacity
  readonly redundant?: number | undefined
}

const weighed = Effect.fnUntraced(function*({ after, before, capacity, load, redundant, slots }: Options) {
  const from = yield* ExpertMap.make(before, slots)
  const physical = yield* capacity({
    logical: size.experts,
    physical: slots[0]!.length,
    redundant,
    from: before.length,
    to: after.length
  })
  // An expert that nobody has asked for yet weighs a little, too.
  const weights = slots.map((_, layer) => Array.from({ length: size.experts }, (_, expert) => (load?.[layer]?.[expert] ?? 0) + 1))
  return { from, weights, options: { from, members: after, physical } }
})

/** The map that moves the fewest experts, and among such gives those that have to move to whoever has least to do. */
export const next = Effect.fnUntraced(function*(options: Options) {
  const { from, options: to, weights } = yield* weighed(options)
  return { from, to: yield* Placement.nearest(weights, to) }
})

/** The map that spreads the load most evenly, and of such one that moves the fewest experts. */
export const even = Effect.fnUntraced(function*(options: Options) {
  const { from, options: to, weights } = yield* weighed(options)
  return { from, to: yield* Placement.balanced(weights, to) }
})
