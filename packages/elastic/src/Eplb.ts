/**
 * Spreads experts over members by their load: the expert-parallel load balancer of DeepSeek and vLLM, number for number.
 *
 * Experts that are much wanted get several copies, and copies are packed so that members have equally much to do. Loads count as 32-bit floats, a
 * copy's share and a pack's sum as 64-bit ones; among equals the lower index comes first, so that every machine computes the same map.
 */
import * as Effect from "effect/Effect"
import type { Load } from "./ExpertLoad.ts"
import * as ExpertMap from "./ExpertMap.ts"
import { ExpertPlacementError } from "./ExpertPlacementError.ts"
import { eachLayer } from "./internal/eachLayer.ts"

/** What experts are spread over. */
export interface Options {
  readonly members: ReadonlyArray<number>
  /** Slots of all members together. */
  readonly physical: number
  /** Groups of experts that a router limits itself to; each stays within a node. Default 1. */
  readonly groups?: number | undefined
  /** Nodes with equally many members each, in order. Default 1. Groups that do not divide over the nodes are not kept together. */
  readonly nodes?: number | undefined
  /** The map so far: an expert that stays on a member stays in its slot. It must have as many slots a member. */
  readonly previous?: ExpertMap.ExpertMap | undefined
}

/** Which pack each item is in, and at which place of it. */
export interface Packing {
  readonly pack: ReadonlyArray<number>
  readonly place: ReadonlyArray<number>
}

/**
 * Packs of equally many items, the heaviest first, each into the lightest pack that has room. Packs of one item keep the items' order. Throws a
 * `RangeError` if the items do not divide.
 */
export const balancedPacking = (weights: ArrayLike<number>, packs: number): Packing => {
  const weight = new Float64Array(weights)
  const items = indices(weight.length)
  const each = items.length / packs
  if (!Number.isInteger(each)) throw new RangeError(`${items.length} items do not divide into ${packs} packs`)
  if (each === 1) return { pack: items, place: items.map(() => 0) }
  const pack = items.slice()
  const place = items.slice()
  const sums = new Float64Array(packs)
  const counts = new Int32Array(packs)
  for (const item of items.sort((a, b) => weight[b]! - weight[a]!)) {
    const lightest = first(sums, (sum, least) => sum < least)
    pack[item] = lightest
    place[item] = counts[lightest]!++
    sums[lightest] = counts[lightest] === each ? Infinity : sums[lightest]! + weight[item]!
  }
  return { pack, place }
}

/**
 * One copy of each expert, then one more of whichever has the most to do a copy, until there are `physical`. Throws a `RangeError` if there are
 * more experts than that.
 */
export const replicateExperts = (
  weights: ArrayLike<number>,
  physical: number
): { readonly logical: ReadonlyArray<number>; readonly counts: ReadonlyArray<number> } => {
  if (physical < weights.length) throw new RangeError(`${weights.length} experts do not fit ${physical} slots`)
  const logical = indices(weights.length)
  const counts = logical.map(() => 1)
  const shares = new Float64Array(weights)
  while (logical.length < physical) {
    const busiest = first(shares, (share, most) => share > most)
    logical.push(busiest)
    shares[busiest] = weights[busiest]! / ++counts[busiest]!
  }
  return { logical, counts }
}

const indices = (n: number): Array<number> => {
  const all: Array<number> = []
  for (let index = 0; index < n; index++) all.push(index)
  return all
}

/** The first that no other goes before. */
const first = (values: Float64Array, before: (value: number, found: number) => boolean): number => {
  let found = 0
  for (let index = 1; index < values.length; index++) if (before(values[index]!, values[found]!)) found = index
  return found
}

/** One layer with the experts that stay on a member back in their slots, the others in the slots that remain, in order. */
export const preserveSlots = (
  previous: ReadonlyArray<number>,
  next: ReadonlyArray<number>,
  slotsPerMember: number
): ReadonlyArray<number> => {
  const kept = next.map(() => ExpertMap.empty)
  for (let begin = 0; begin < next.length; begin += slotsPerMember) {
    const coming = next.slice(begin, begin + slotsPerMember)
    for (let slot = begin; slot < begin + slotsPerMember; slot++) {
      const stays = coming.indexOf(previous[slot]!)
      if (stays !== -1) kept[slot] = coming.splice(stays, 1)[0]!
    }
    for (let slot = begin; slot < begin + slotsPerMember; slot++) {
      if (kept[slot] === ExpertMap.empty) kept[slot] = coming.shift()!
    }
  }
  return kept
}

/** Whether groups of experts can be kept within nodes. */
export const isHierarchical = ({ groups = 1, nodes = 1 }: Pick<Options, "groups" | "nodes">): boolean => groups % nodes === 0

/** The map for a load. What cannot be spread evenly is an `ExpertPlacementError` that names the option. */
export const rebalance = Effect.fnUntraced(function*(load: Load, options: Options) {
  yield* check(load, options)
  const { members, physical, previous } = options
  const [groups, nodes] = isHierarchical(options) ? [options.groups ?? 1, options.nodes ?? 1] : [1, 1]
  const kept = previous && ExpertMap.onto(previous, members)
  const layers = yield* eachLayer(load, (weights, layer) => {
    const slots = spread(Float32Array.from(weights), physical, groups, nodes, members.length)
    return kept === undefined ? slots : preserveSlots(kept.layers[layer]!, slots, physical / members.length)
  })
  return { members, layers } satisfies ExpertMap.ExpertMap
})

/** One layer: groups to nodes, copies within each node, copies to the node's members. */
const spread = (weights: Float32Array, physical: number, groups: number, nodes: number, members: number): ReadonlyArray<number> => {
  const logical = weights.length
  const size = logical / groups
  const sums = new Float32Array(groups)
  for (let expert = 0; expert < logical; expert++) sums[Math.floor(expert / size)]! += weights[expert]!
  const home = balancedPacking(sums, nodes)
  // Experts node by node, and within a node by the place of their group.
  const resident = new Int32Array(logical)
  for (let expert = 0; expert < logical; expert++) {
    const group = Math.floor(expert / size)
    resident[home.pack[group]! * (logical / nodes) + home.place[group]! * size + (expert % size)] = expert
  }
  const slots = indices(physical)
  for (let node = 0; node < nodes; node++) {
    const experts = resident.subarray((node * logical) / nodes, ((node + 1) * logical) / nodes)
    const own = new Float64Array(experts.length)
    for (let index = 0; index < own.length; index++) own[index] = weights[experts[index]!]!
    const copies = replicateExperts(own, physical / nodes)
    const shares = new Float64Array(copies.logical.length)
    for (let copy = 0; copy < shares.length; copy++) shares[copy] = own[copies.logical[copy]!]! / copies.counts[copies.logical[copy]!]!
    const { pack, place } = balancedPacking(shares, members / nodes)
    for (let copy = 0; copy < shares.length; copy++) {
      const slot = (node * physical) / nodes + (pack[copy]! * physical) / members + place[copy]!
      slots[slot] = experts[copies.logical[copy]!]!
    }
  }
  return slots
}

const check = Effect.fnUntraced(function*(load: Load, options: Options) {
  const { members, physical, previous } = options
  const fail = (where: string, issue: string, advice: string) => new ExpertPlacementError({ where, issue, advice })
  const logical = load[0]?.length ?? 0
  if (logical === 0) return yield* fail("load", "no experts", "Give at least one layer of at least one expert")
  for (const [layer, weights] of load.entries()) {
    if (weights.length !== logical) {
      return yield* fail(`load of layer ${layer}`, `${weights.length} experts where layer 0 has ${logical}`, "Give every layer as many")
    }
    const wrong = weights.findIndex((weight) => !(weight >= 0 && Number.isFinite(Math.fround(weight))))
    if (wrong !== -1) {
      return yield* fail(`load of layer ${layer}, expert ${wrong}`, `${weights[wrong]} is not a load`, "Give a number from 0 up")
    }
  }
  const counts = { members: members.length, physical, groups: options.groups ?? 1, nodes: options.nodes ?? 1 }
  for (const [where, count] of Object.entries(counts)) {
    if (!Number.isInteger(count) || count < 1) return yield* fail(where, `${count} is not a count`, "Give a whole number from 1 up")
  }
  if (new Set(members).size !== members.length) return yield* fail("members", `${members} names one twice`, "Name each member once")
  if (physical < logical) {
    return yield* fail("physical", `${physical} slots do not hold ${logical} experts`, "Give each expert a slot at least")
  }
  if (physical % members.length !== 0) {
    return yield* fail("physical", `${physical} slots do not divide over ${members.length} members`, "Give every member as many")
  }
  if (isHierarchical(options)) {
    if (logical % counts.groups !== 0) {
      return yield* fail("groups", `${logical} experts do not divide into ${counts.groups} groups`, "Give every group as many")
    }
    if (members.length % counts.nodes !== 0) {
      return yield* fail("nodes", `${members.length} members do not divide over ${counts.nodes} nodes`, "Give every node as many")
    }
  }
  if (previous === undefined) return
  if (previous.layers.length !== load.length) {
    return yield* fail("previous", `${previous.layers.length} layers where the load has ${load.length}`, "Give the map of the same model")
  }
  if (ExpertMap.slotsPerMember(previous) !== physical / members.length) {
    return yield* fail(
      "previous",
      `${ExpertMap.slotsPerMember(previous)} slots a member where there shall be ${physical / members.length}`,
      "Slots are kept only where members keep their number of slots: leave it out"
    )
  }
})
