/**
 * Says how one map becomes another: which bytes go from whom to whom, and in which order, so that every expert can be used at every moment.
 *
 * Experts go from member to member, never through the driver. They arrive beside what is in use, and a layer switches to its new map when all of
 * it has arrived; what the old map used is free after that.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as ExpertMap from "./ExpertMap.ts"
import { ExpertPlacementError } from "./ExpertPlacementError.ts"
import { eachLayer } from "./internal/eachLayer.ts"

/** Experts of one layer that one member gets from another, or from the model's file where no member has them any more. */
export const Flow = Schema.Struct({
  from: Schema.Union([Schema.Int, Schema.Literal("file")]),
  to: Schema.Int,
  experts: Schema.Array(Schema.Int)
})
export type Flow = typeof Flow.Type

/** All moves of a layer. The flows of a batch may run at once: no member is in two of them. */
export const LayerPlan = Schema.Struct({
  layer: Schema.Int,
  batches: Schema.Array(Schema.Array(Flow))
})
export type LayerPlan = typeof LayerPlan.Type

/** How `from` becomes `to`, in the order of the layers; a layer in which nothing moves has no batches. */
export const MovementPlan = Schema.Struct({
  from: ExpertMap.ExpertMap,
  to: ExpertMap.ExpertMap,
  /** Bytes of an expert, layer by layer. */
  expertBytes: Schema.Array(Schema.Int),
  layers: Schema.Array(LayerPlan)
})
export type MovementPlan = typeof MovementPlan.Type

/** One thing to do: copy a batch, or route the layers named by their new map from now on. */
export type Step =
  | { readonly _tag: "Copy"; readonly layer: number; readonly flows: ReadonlyArray<Flow> }
  | { readonly _tag: "Switch"; readonly layers: ReadonlyArray<number> }

/** The plan from one map to another. Members in `lost` are gone and can give nothing. */
export const make = Effect.fnUntraced(function*(options: {
  readonly from: ExpertMap.ExpertMap
  readonly to: ExpertMap.ExpertMap
  /** Bytes of an expert, in every layer or layer by layer. */
  readonly expertBytes: number | ReadonlyArray<number>
  readonly lost?: ReadonlyArray<number> | undefined
}) {
  const { from, lost = [], to } = options
  if (from.layers.length !== to.layers.length) {
    return yield* new ExpertPlacementError({
      where: "to",
      issue: `${to.layers.length} layers where the map so far has ${from.layers.length}`,
      advice: "Give two maps of the same model"
    })
  }
  const { expertBytes } = options
  return {
    from,
    to,
    expertBytes: typeof expertBytes === "number" ? from.layers.map(() => expertBytes) : expertBytes,
    layers: yield* eachLayer(from.layers, (_, layer) => ({ layer, batches: batches(flows(from, to, layer, lost)) }))
  } satisfies MovementPlan
})

/** Who gives which experts to whom in one layer: those who have an expert share those who need it. */
const flows = (
  from: ExpertMap.ExpertMap,
  to: ExpertMap.ExpertMap,
  layer: number,
  lost: ReadonlyArray<number>
): ReadonlyArray<Flow> => {
  const before = holders(from, layer, (member) => !lost.includes(member))
  const after = holders(to, layer, () => true)
  const byPair = new Map<string, { from: Flow["from"]; to: number; experts: Array<number> }>()
  for (const expert of [...after.keys()].sort((a, b) => a - b)) {
    const givers = before.get(expert) ?? []
    const takers = after.get(expert)!.filter((member) => !givers.includes(member))
    for (const [giver, receivers] of share<Flow["from"]>(givers.length === 0 ? ["file"] : givers, takers)) {
      for (const taker of receivers) {
        const pair = `${giver} ${taker}`
        if (!byPair.has(pair)) byPair.set(pair, { from: giver, to: taker, experts: [] })
        byPair.get(pair)!.experts.push(expert)
      }
    }
  }
  return [...byPair.values()]
}

const holders = (map: ExpertMap.ExpertMap, layer: number, counts: (member: number) => boolean): Map<number, Array<number>> => {
  const found = new Map<number, Array<number>>()
  for (const member of map.members.filter(counts)) {
    for (const expert of new Set(ExpertMap.held(map, layer, member))) {
      if (expert !== ExpertMap.empty) found.set(expert, [...found.get(expert) ?? [], member])
    }
  }
  return found
}

/** Each giver's equal part of the takers, and one more for the first givers where that does not come out even. */
const share = <A>(givers: ReadonlyArray<A>, takers: ReadonlyArray<number>): ReadonlyArray<readonly [A, ReadonlyArray<number>]> => {
  const each = Math.floor(takers.length / givers.length)
  const rest = takers.slice(givers.length * each)
  return givers.map((giver, index) => [giver, [...takers.slice(index * each, (index + 1) * each), ...rest.slice(index, index + 1)]])
}

/** Each flow into the first batch in which neither of its ends is busy; reading from the file keeps nobody busy but the reader. */
const batches = (flows: ReadonlyArray<Flow>): ReadonlyArray<ReadonlyArray<Flow>> => {
  const batches: Array<{ readonly flows: Array<Flow>; readonly busy: Set<Flow["from"]> }> = []
  for (const flow of flows) {
    let batch = batches.find(({ busy }) => !busy.has(flow.to) && (flow.from === "file" || !busy.has(flow.from)))
    if (batch === undefined) batches.push(batch = { flows: [], busy: new Set() })
    batch.flows.push(flow)
    batch.busy.add(flow.to).add(flow.from)
  }
  return batches.map(({ flows }) => flows)
}

/** Bytes from whom to whom, all layers together, the largest first. */
export const bytes = (self: MovementPlan): ReadonlyArray<{ readonly from: Flow["from"]; readonly to: number; readonly bytes: number }> => {
  const totals = new Map<string, { readonly from: Flow["from"]; readonly to: number; bytes: number }>()
  for (const { batches, layer } of self.layers) {
    for (const { experts, from, to } of batches.flat()) {
      const pair = `${from} ${to}`
      if (!totals.has(pair)) totals.set(pair, { from, to, bytes: 0 })
      totals.get(pair)!.bytes += experts.length * self.expertBytes[layer]!
    }
  }
  return [...totals.values()].sort((a, b) => b.bytes - a.bytes)
}

/** Bytes that move in all. */
export const totalBytes = (self: MovementPlan): number => bytes(self).reduce((sum, { bytes }) => sum + bytes, 0)

/**
 * The order in which to carry a plan out. `"layer"` switches each layer as soon as it is complete, so that no member needs room beside its slots for
 * more than one layer; `"end"` switches all at once, which is what changing the epoch of a group is.
 */
export const steps = (self: MovementPlan, switching: "layer" | "end"): ReadonlyArray<Step> => {
  const changed = self.layers.filter(({ layer }) => self.from.layers[layer]!.join() !== self.to.layers[layer]!.join()).map(({ layer }) =>
    layer
  )
  const copies = self.layers.flatMap(({ batches, layer }): ReadonlyArray<Step> => [
    ...batches.map((flows) => ({ _tag: "Copy" as const, layer, flows })),
    ...switching === "layer" && changed.includes(layer) ? [{ _tag: "Switch" as const, layers: [layer] }] : []
  ])
  return switching === "layer" ? copies : [...copies, { _tag: "Switch", layers: changed }]
}

/**
 * Who sends the weights that all members have alike to whom, when `newcomers` join `members`: each member has an equal, contiguous part of them,
 * the first members one more where that does not come out even.
 */
export const senders = (
  members: ReadonlyArray<number>,
  newcomers: ReadonlyArray<number>
): ReadonlyArray<{ readonly from: number; readonly to: ReadonlyArray<number> }> => {
  const each = Math.floor(newcomers.length / members.length)
  const more = newcomers.length % members.length
  const begin = (index: number): number => index * each + Math.min(index, more)
  return members.map((from, index) => ({ from, to: newcomers.slice(begin(index), begin(index + 1)) }))
}
