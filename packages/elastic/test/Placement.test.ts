import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Capacity from "../src/Capacity.ts"
import * as Eplb from "../src/Eplb.ts"
import type { Load } from "../src/ExpertLoad.ts"
import * as ExpertMap from "../src/ExpertMap.ts"
import * as MovementPlan from "../src/MovementPlan.ts"
import * as Placement from "../src/Placement.ts"
import { range } from "./vectors.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** A resize: any of the members leave, others join, with copies to spare or without. */
const resize = {
  logical: between(1, 9),
  before: between(1, 4),
  after: between(1, 4),
  /** How many of the first members leave. */
  leaving: between(0, 4),
  copies: between(0, 6),
  nodes: between(1, 2),
  weights: Schema.Array(between(0, 40)).check(Schema.isBetweenLength(18, 18)),
  earlier: Schema.Array(between(0, 40)).check(Schema.isBetweenLength(18, 18))
}
type Resize = { readonly [K in keyof typeof resize]: (typeof resize)[K]["Type"] }

const loadOf = (logical: number, weights: ReadonlyArray<number>): Load => [weights.slice(0, logical), weights.slice(9, 9 + logical)]

const situation = Effect.fnUntraced(function*({ after, before, copies, earlier, leaving, logical, nodes, weights }: Resize) {
  const slots = (to: number) => Capacity.fit({ logical, redundant: copies, physical: 0, from: before, to })
  const from = yield* Eplb.rebalance(loadOf(logical, earlier), { members: range(before), physical: yield* slots(before) })
  const members = range(after).map((index) => index + leaving)
  const spread = after % nodes === 0 && logical % nodes === 0 ? { nodes, groups: nodes } : {}
  const options = { members, physical: yield* slots(after), ...spread }
  return { from, load: loadOf(logical, weights), logical, options }
})

const bytes = (from: ExpertMap.ExpertMap, to: ExpertMap.ExpertMap) =>
  Effect.map(MovementPlan.make({ from, to, expertBytes: 10 }), MovementPlan.totalBytes)

/** Carries a plan out on members that remember what they hold, and looks after every single flow whether each expert can still be used. */
const carryOut = (plan: MovementPlan.MovementPlan, switching: "layer" | "end", logical: number) => {
  const everyone = [...new Set([...plan.from.members, ...plan.to.members])]
  const holds = (map: ExpertMap.ExpertMap, layer: number, member: number, expert: number) =>
    ExpertMap.held(map, layer, member).includes(expert)
  const memory = plan.from.layers.map((_, layer) =>
    new Map(everyone.map((member) => [member, new Set(ExpertMap.held(plan.from, layer, member))]))
  )
  const current = plan.from.layers.map(() => plan.from)
  const look = (layer: number) => {
    const map = current[layer]!
    for (let expert = 0; expert < logical; expert++) {
      const holders = map.members.filter((member) => holds(map, layer, member, expert))
      assert.isAbove(holders.length, 0, `layer ${layer}: nobody has expert ${expert}`)
      for (const member of holders) assert.isTrue(memory[layer]!.get(member)!.has(expert), `member ${member} lacks expert ${expert}`)
    }
  }
  for (const step of MovementPlan.steps(plan, switching)) {
    if (step._tag === "Copy") {
      const busy = step.flows.flatMap(({ from, to }) => [from, to])
      assert.strictEqual(new Set(busy).size, busy.length, "a member is in two flows of a batch")
      for (const { experts, from, to } of step.flows) {
        for (const expert of experts) {
          assert.isTrue(memory[step.layer]!.get(from as number)!.has(expert), `${from} has no expert ${expert} to give`)
          assert.isFalse(memory[step.layer]!.get(to)!.has(expert), `member ${to} has expert ${expert} already`)
          memory[step.layer]!.get(to)!.add(expert)
        }
        look(step.layer)
      }
    } else {
      for (const layer of step.layers) {
        current[layer] = plan.to
        for (const [member, own] of memory[layer]!) {
          for (const expert of own) if (!holds(plan.to, layer, member, expert)) own.delete(expert)
        }
        look(layer)
      }
    }
  }
  plan.to.layers.forEach((_, layer) => {
    for (const member of everyone) {
      const wanted = new Set(ExpertMap.held(plan.to, layer, member).filter((expert) => expert !== ExpertMap.empty))
      if (current[layer] === plan.to) assert.deepStrictEqual(memory[layer]!.get(member), wanted)
    }
  })
}

const arbitrary = { arbitrary: { runs: 100 } }

describe("placement", () => {
  it.effect.prop(
    "EP-4: every expert can be used at every moment of a plan, layer by layer and all at once",
    resize,
    (drawn) =>
      Effect.gen(function*() {
        const { from, load, logical, options } = yield* situation(drawn)
        // Members that all leave have to give their experts away first, so they are still there.
        for (const choose of [Placement.balanced, Placement.nearest]) {
          const plan = yield* MovementPlan.make({ from, to: yield* choose(load, { ...options, from }), expertBytes: 10 })
          carryOut(plan, "layer", logical)
          carryOut(plan, "end", logical)
        }
      }),
    arbitrary
  )

  it.effect.prop("EP-5: no plan moves more than the map of the reference would", resize, (drawn) =>
    Effect.gen(function*() {
      const { from, load, options } = yield* situation(drawn)
      const naive = yield* bytes(from, yield* Eplb.rebalance(load, options))
      const balanced = yield* bytes(from, yield* Placement.balanced(load, { ...options, from }))
      const nearest = yield* bytes(from, yield* Placement.nearest(load, { ...options, from }))
      assert.isAtMost(balanced, naive)
      assert.isAtMost(nearest, balanced)
    }), arbitrary)

  it.effect.prop(
    "EP-5: handing packs out to other members changes nothing in how even the load is",
    resize,
    (drawn) =>
      Effect.gen(function*() {
        const { from, load, options } = yield* situation(drawn)
        const reference = yield* Eplb.rebalance(load, options)
        const balanced = yield* Placement.balanced(load, { ...options, from })
        assert.closeTo(ExpertMap.balancedness(balanced, load), ExpertMap.balancedness(reference, load), 1e-9)
      }),
    arbitrary
  )

  it.effect.prop(
    "EP-5: the nearest map moves the fewest experts of all that hold every expert and give no member one twice",
    { ...resize, logical: between(1, 4), before: between(1, 2), after: between(1, 2), leaving: between(0, 1), copies: between(0, 2) },
    (drawn) =>
      Effect.gen(function*() {
        const { from, load, logical, options } = yield* situation(drawn)
        const width = options.physical / options.members.length
        const packs = subsets(logical).filter((pack) => pack.length === Math.min(width, logical))
        const padded = packs.map((pack) => [...pack, ...Array.from({ length: width - pack.length }, () => ExpertMap.empty)])
        const all = options.members.reduce<ReadonlyArray<ReadonlyArray<number>>>(
          (maps) => maps.flatMap((map) => padded.map((pack) => [...map, ...pack])),
          [[]]
        )
        const nearest = yield* Placement.nearest(load, { ...options, from })
        for (const layer of range(2)) {
          const one = { members: from.members, layers: [from.layers[layer]!] }
          const moves = (slots: ReadonlyArray<number>) => bytes(one, { members: options.members, layers: [slots] })
          const complete = all.filter((slots) => range(logical).every((expert) => slots.includes(expert)))
          const fewest = Math.min(...yield* Effect.forEach(complete, moves))
          assert.isAtMost(yield* moves(nearest.layers[layer]!), fewest)
        }
      }),
    { arbitrary: { runs: 60 } }
  )

  it.effect("EP-5: what nobody has to give away stays: growing from 2 to 4 moves half, shrinking from 4 to 2 moves half, the same size nothing", () =>
    Effect.gen(function*() {
      const load = [range(32).map((expert) => (expert * 7) % 32)]
      const map = (members: ReadonlyArray<number>) => ExpertMap.initial({ members, layers: 1, logical: 32, physical: 32 })
      const moved = Effect.fnUntraced(function*(from: ExpertMap.ExpertMap, members: ReadonlyArray<number>) {
        return (yield* bytes(from, yield* Placement.nearest(load, { members, physical: 32, from }))) / 10
      })
      assert.strictEqual(yield* moved(map([0, 1]), [0, 1, 2, 3]), 16)
      assert.strictEqual(yield* moved(map([0, 1, 2, 3]), [1, 3]), 16)
      assert.strictEqual(yield* moved(map([0, 1, 2, 3]), [0, 1, 2, 3]), 0)
    }))
})

const subsets = (n: number): ReadonlyArray<ReadonlyArray<number>> =>
  range(2 ** n).map((bits) => range(n).filter((bit) => bits & (1 << bit)))
