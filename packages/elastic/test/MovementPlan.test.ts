import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Eplb from "../src/Eplb.ts"
import * as ExpertMap from "../src/ExpertMap.ts"
import * as MovementPlan from "../src/MovementPlan.ts"
import { range, vectors } from "./vectors.ts"

const map = (slots: ReadonlyArray<number>, width: number): ExpertMap.ExpertMap => ({
  members: range(slots.length / width),
  layers: [slots]
})

describe("movement plans", () => {
  it.effect("EP-6: flows of one pair go together, and no member is twice in a batch, in the order of the reference", () =>
    Effect.gen(function*() {
      for (const { batches, name, new: next, numLocalExperts, old } of vectors.migrationBatches) {
        const plan = yield* MovementPlan.make({ from: map(old, numLocalExperts), to: map(next, numLocalExperts), expertBytes: 1 })
        const expected = batches.map((flows) => flows.map(({ dst, experts, src }) => ({ from: src, to: dst, experts })))
        assert.deepStrictEqual(plan.layers[0]!.batches, expected, name)
      }
    }))

  it.effect("EP-6: those who have an expert share those who need it; who holds it already gets nothing, who needs it twice gets it once", () =>
    Effect.gen(function*() {
      const plan = yield* MovementPlan.make({ from: map([0, 0, 1, 1, 1], 1), to: map([0, 0, 0, 0, 0], 1), expertBytes: 1 })
      assert.deepStrictEqual(
        MovementPlan.bytes(plan),
        [[0, 2], [1, 3], [0, 4]].map(([from, to]) => ({ from: from!, to: to!, bytes: 1 }))
      )
      const twice = yield* MovementPlan.make({ from: map([0, 1, 2, 3], 2), to: map([2, 2, 0, 3], 2), expertBytes: 1 })
      assert.deepStrictEqual(MovementPlan.bytes(twice).map(({ from, to }) => [from, to]), [[0, 1], [1, 0]])
    }))

  it.effect("EP-6: says how many bytes go from whom to whom, layer by layer of its own size, and which come from the file", () =>
    Effect.gen(function*() {
      const from = { members: [4, 5, 6], layers: [[0, 1, 2], [0, 1, 2]] }
      const to = { members: [5, 6], layers: [[1, 0, 2, 1], [1, 0, 2, 0]] }
      const plan = yield* MovementPlan.make({ from, to, expertBytes: [10, 1000] })
      assert.deepStrictEqual(MovementPlan.bytes(plan), [
        { from: 4, to: 5, bytes: 1010 },
        { from: 4, to: 6, bytes: 1000 },
        { from: 5, to: 6, bytes: 10 }
      ])
      assert.strictEqual(MovementPlan.totalBytes(plan), 2020)
      const lost = yield* MovementPlan.make({ from, to, expertBytes: [10, 1000], lost: [4] })
      assert.deepStrictEqual(lost.layers[0]!.batches, [[{ from: "file", to: 5, experts: [0] }], [{ from: 5, to: 6, experts: [1] }]])
      const journaled = yield* Schema.decodeEffect(Schema.fromJsonString(MovementPlan.MovementPlan))(JSON.stringify(plan))
      assert.deepStrictEqual(journaled, plan)
    }))

  it.effect("EP-6: a layer switches when all of it has arrived, or all layers at once at the end; one that stays as it is never", () =>
    Effect.gen(function*() {
      const from = { members: [0, 1], layers: [[0, 1], [0, 1], [0, 1]] }
      const to = { members: [0, 1], layers: [[1, 0], [0, 1], [1, 0]] }
      const plan = yield* MovementPlan.make({ from, to, expertBytes: 1 })
      const told = (switching: "layer" | "end") =>
        MovementPlan.steps(plan, switching).map((step) => step._tag === "Copy" ? `copy ${step.layer}` : `switch ${step.layers}`)
      assert.deepStrictEqual(told("layer"), ["copy 0", "copy 0", "switch 0", "copy 2", "copy 2", "switch 2"])
      assert.deepStrictEqual(told("end"), ["copy 0", "copy 0", "copy 2", "copy 2", "switch 0,2"])
    }))

  it("EP-6: newcomers get what all have alike from the members in equal, contiguous parts", () => {
    for (const { newDp, oldDp, receiversBySender } of vectors.weightSenderPairing) {
      const found = MovementPlan.senders(range(oldDp), range(newDp).slice(oldDp))
      assert.deepStrictEqual(Object.fromEntries(found.map(({ from, to }) => [from, to])), receiversBySender)
    }
    const twenty = MovementPlan.senders(range(16), range(20).slice(16))
    assert.deepStrictEqual(twenty.flatMap(({ from, to }) => to.map((to) => [from, to])), [[0, 16], [1, 17], [2, 18], [3, 19]])
  })

  it("EP-2: a map under another list of members has empty slots for newcomers, and none for who has left", () => {
    for (const { kind, mapped, newEpSize, newPhy2log, oldPhy2log, rankMapping } of vectors.rankMapping) {
      const ranks = Object.keys(rankMapping).map(Number)
      // Upstream renumbers ranks; members keep their ids, so that the same table is the same slots under a longer list.
      const given = kind === "scale-up"
        ? { members: ranks, layers: oldPhy2log! }
        : { members: ranks.filter((rank) => rankMapping[rank] !== -1), layers: newPhy2log! }
      const found = ExpertMap.onto(given, kind === "scale-up" ? range(newEpSize!) : ranks)
      assert.deepStrictEqual(found.layers, mapped)
    }
    const three = { members: [7, 8, 9], layers: [[0, 1, 2]] }
    assert.deepStrictEqual(ExpertMap.onto(three, [9, 7]), { members: [9, 7], layers: [[2, 0]] })
  })

  it.effect("EP-8: maps of two models, and members or layers that do not add up, are errors that say where", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        MovementPlan.make({ from: map([0, 1], 1), to: { members: [0], layers: [] }, expertBytes: 1 })
      )
      assert.strictEqual(error.message, "to: 0 layers where the map so far has 1. Give two maps of the same model")
      const where = (members: ReadonlyArray<number>, layers: ReadonlyArray<ReadonlyArray<number>>) =>
        Effect.map(Effect.flip(ExpertMap.make(members, layers)), ({ where }) => where)
      assert.strictEqual(yield* where([1, 1], [[0, 1]]), "members")
      assert.strictEqual(yield* where([1, 2], [[0, 1], [0]]), "layer 1")
      assert.strictEqual(yield* where([1, 2], [[0, 1, 2]]), "layer 0")
      assert.strictEqual(yield* where([], []), "layer 0")
      assert.deepStrictEqual(yield* ExpertMap.make([1, 2], [[0, 1]]), { members: [1, 2], layers: [[0, 1]] })
    }))

  it.live("EP-10: the event loop has a turn after every layer that is planned", () =>
    Effect.gen(function*() {
      const load = range(58).map((layer) => range(256).map((expert) => ((layer + 1) * (expert + 3) * 7919) % 1000))
      let turns = 0
      let counting = true
      const count = () => {
        turns++
        if (counting) setImmediate(count)
      }
      setImmediate(count)
      const map = yield* Eplb.rebalance(load, { members: range(32), physical: 288, groups: 8, nodes: 4 })
      counting = false
      assert.isTrue(map.layers.every((layer) => new Set(layer).size === 256))
      assert.isAtLeast(turns, 57)
    }))
})
