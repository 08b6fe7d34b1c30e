/**
 * Chooses where experts shall be when a group's load or size has changed: `balanced` spreads the load as evenly as `Eplb` can, `nearest` moves as
 * little as possible. Both move no more than the map of `Eplb` would.
 */
import * as Effect from "effect/Effect"
import * as Eplb from "./Eplb.ts"
import type { Load } from "./ExpertLoad.ts"
import * as ExpertMap from "./ExpertMap.ts"
import * as Assignment from "./internal/assignment.ts"
import { eachLayer } from "./internal/eachLayer.ts"
import * as Nearest from "./internal/nearest.ts"

/** What is there, and what there shall be: members and slots as for `Eplb`. */
export interface Options extends Omit<Eplb.Options, "previous"> {
  readonly from: ExpertMap.ExpertMap
}

/**
 * The packs of `Eplb.rebalance`, each given to the member that has most of it already: of all ways to hand those packs out, within their nodes, one
 * that moves the fewest experts. Who keeps its number of slots keeps its experts in their slots.
 */
export const balanced = Effect.fnUntraced(function*(load: Load, options: Options) {
  const { from, members, physical } = options
  const map = yield* Eplb.rebalance(load, options)
  const nodes = Eplb.isHierarchical(options) ? options.nodes ?? 1 : 1
  const width = physical / members.length
  const kept = ExpertMap.slotsPerMember(from) === width ? ExpertMap.onto(from, members) : undefined
  const layers = yield* eachLayer(map.layers, (layer, index) => {
    const slots = handOut(layer, width, nodes, members.map((member) => new Set(ExpertMap.held(from, index, member))))
    return kept === undefined ? slots : Eplb.preserveSlots(kept.layers[index]!, slots, width)
  })
  return { members, layers } satisfies ExpertMap.ExpertMap
})

/**
 * The map that moves the fewest experts of all that hold every expert: members keep what they have as far as their slots go, the rest goes to
 * whoever has least to do. Groups and nodes count only where `balanced` moves as little or less, which is then the answer.
 */
export const nearest = Effect.fnUntraced(function*(load: Load, options: Options) {
  const even = yield* balanced(load, options)
  const { from, members, physical } = options
  const layers = yield* eachLayer(load, (weights, layer) => {
    const held = members.map((member) => new Set(ExpertMap.held(from, layer, member)))
    const near = Nearest.layer(weights, held, physical / members.length)
    return missing(near, held) < missing(even.layers[layer]!, held) ? near : even.layers[layer]!
  })
  return { members, layers } satisfies ExpertMap.ExpertMap
})

/** Experts of a layer that members would have to get. */
const missing = (slots: ReadonlyArray<number>, held: ReadonlyArray<ReadonlySet<number>>): number => {
  const width = slots.length / held.length
  return held.reduce((sum, own, member) => sum + lacking(slots.slice(member * width, (member + 1) * width), own), 0)
}

const lacking = (pack: ReadonlyArray<number>, own: ReadonlySet<number>): number => {
  let count = 0
  for (const expert of new Set(pack)) if (expert !== ExpertMap.empty && !own.has(expert)) count++
  return count
}

/** Packs to members, first within each pairing of a node's packs with a node, then nodes among themselves. */
const handOut = (
  slots: ReadonlyArray<number>,
  width: number,
  nodes: number,
  held: ReadonlyArray<ReadonlySet<number>>
): ReadonlyArray<number> => {
  const each = held.length / nodes
  const packs = held.map((_, member) => slots.slice(member * width, (member + 1) * width))
  const cost = packs.map((pack) => held.map((own) => lacking(pack, own)))
  const within = Array.from({ length: nodes }, (_, a) =>
    Array.from({ length: nodes }, (_, b) => {
      const part = cost.slice(a * each, (a + 1) * each).map((row) => row.slice(b * each, (b + 1) * each))
      const member = Assignment.assign(part)
      return { member, cost: part.reduce((sum, row, pack) => sum + row[member[pack]!]!, 0) }
    }))
  const node = Assignment.assign(within.map((row) => row.map(({ cost }) => cost)))
  const handed: Array<number> = []
  packs.forEach((pack, index) => {
    const home = node[Math.floor(index / each)]!
    const member = home * each + within[Math.floor(index / each)]![home]!.member[index % each]!
    pack.forEach((expert, slot) => handed[member * width + slot] = expert)
  })
  return handed
}
