import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Eplb from "../src/Eplb.ts"
import * as ExpertMap from "../src/ExpertMap.ts"
import { range, vectors } from "./vectors.ts"

const near = (found: number, expected: number) => assert.closeTo(found, expected, 1e-11)

describe("EPLB, number for number", () => {
  it("EP-1: packs by weight, into the lightest pack that has room, the first of equals", () => {
    for (const { numPacks, packIndex, rankInPack, weight } of vectors.primitives.balancedPacking) {
      weight.forEach((row, layer) => {
        const found = Eplb.balancedPacking(row, numPacks)
        const expected = { pack: packIndex[layer]!, place: rankInPack[layer]! }
        // These vectors come from numpy's own sort, which does not keep the order of equals: which of two equal items stands where is not compared.
        const standing = ({ pack, place }: Eplb.Packing) => row.map((weight, item) => `${pack[item]} ${place[item]} ${weight}`).sort()
        assert.deepStrictEqual(standing(found), standing(expected))
        if (new Set(row).size === row.length) assert.deepStrictEqual(found, expected)
      })
    }
    assert.deepStrictEqual(Eplb.balancedPacking([1, 1, 1, 1], 2), { pack: [0, 1, 0, 1], place: [0, 0, 1, 1] })
    assert.throws(() => Eplb.balancedPacking([1, 2, 3], 2), RangeError, "3 items do not divide into 2 packs")
  })

  it("EP-1: gives one more copy to whatever has the most to do a copy", () => {
    for (const { logcnt, numPhy, phy2log, weight } of vectors.primitives.replicateExperts) {
      const found = weight.map((row) => Eplb.replicateExperts(row, numPhy))
      assert.deepStrictEqual(found.map(({ logical }) => logical), phy2log)
      assert.deepStrictEqual(found.map(({ counts }) => counts), logcnt)
    }
    assert.throws(() => Eplb.replicateExperts([1, 2, 3], 2), RangeError, "3 experts do not fit 2 slots")
  })

  it("EP-2: an expert that stays on a member stays in its slot, and the others fill what is left in order", () => {
    for (const { newPhy2log, numRanks, oldPhy2log, result } of vectors.primitives.preserveIntragpuSlots) {
      const found = newPhy2log.map((next, layer) => Eplb.preserveSlots(oldPhy2log[layer]!, next, next.length / numRanks))
      assert.deepStrictEqual(found, result)
    }
  })

  it("EP-1: maps go both ways, with empty slots left out", () => {
    for (const { log2phy, logcnt, numLogical, phy2log } of vectors.primitives.computeLogicalMaps) {
      const found = ExpertMap.replicas({ members: [0], layers: phy2log }, numLogical)
      assert.deepStrictEqual(found, { counts: logcnt, slots: log2phy })
    }
  })

  it.effect("EP-1: places experts as the reference does, in every vector", () =>
    Effect.gen(function*() {
      assert.strictEqual(vectors.rebalance.length, 21)
      for (const { balancednessAfter, balancednessBefore, inputs, name, outputs, path } of vectors.rebalance) {
        const { numGroups: groups, numNodes: nodes, numRanks, numReplicas: physical, oldPhy2log, weight } = inputs
        const members = range(numRanks)
        const previous = oldPhy2log === null
          ? undefined
          : { members: range(oldPhy2log[0]!.length * numRanks / physical), layers: oldPhy2log }
        const map = yield* Eplb.rebalance(weight, { members, physical, groups, nodes, previous })
        const { counts, slots } = ExpertMap.replicas(map, weight[0]!.length)
        assert.deepStrictEqual({ phy2log: map.layers, logcnt: counts, log2phy: slots }, outputs, name)
        assert.strictEqual(Eplb.isHierarchical({ groups, nodes }), path === "hierarchical", name)
        near(ExpertMap.balancedness(map, weight), balancednessAfter)
        const before = previous ?? ExpertMap.initial({ members, layers: weight.length, logical: weight[0]!.length, physical })
        if (balancednessBefore !== null) near(ExpertMap.balancedness(before, weight), balancednessBefore)
      }
    }))

  it.effect("EP-1: what is no load at all spreads as equal loads do, and loads count as 32-bit floats", () =>
    Effect.gen(function*() {
      const options = { members: [0, 1], physical: 4 }
      assert.deepStrictEqual((yield* Eplb.rebalance([[0, 0]], options)).layers, [[0, 1, 0, 0]])
      // The two differ, but not as 32-bit floats: the first of equals gets the copy.
      assert.deepStrictEqual(
        (yield* Eplb.rebalance([[16777216, 16777217, 1]], options)).layers,
        (yield* Eplb.rebalance([[16777216, 16777216, 1]], options)).layers
      )
    }))

  it.effect("EP-8: what cannot be spread is an error that names the option", () =>
    Effect.gen(function*() {
      const load = [[1, 2, 3, 4]]
      const four = { members: range(4), physical: 8 }
      const refuses = Effect.fnUntraced(function*(where: string, load: ReadonlyArray<ReadonlyArray<number>>, options: Eplb.Options) {
        const error = yield* Effect.flip(Eplb.rebalance(load, options))
        assert.strictEqual(error._tag, "ExpertPlacementError")
        assert.strictEqual(error.where, where, error.message)
      })
      yield* refuses("load", [], four)
      yield* refuses("load of layer 1", [[1, 2], [1]], four)
      yield* refuses("load of layer 0, expert 1", [[1, NaN, 1]], four)
      yield* refuses("load of layer 0, expert 0", [[-1, 1]], four)
      yield* refuses("members", load, { members: [], physical: 8 })
      yield* refuses("members", load, { members: [1, 1], physical: 8 })
      yield* refuses("physical", load, { members: range(4), physical: 9 })
      yield* refuses("physical", load, { members: range(2), physical: 2 })
      yield* refuses("nodes", [[1, 2, 3]], { ...four, groups: 3, nodes: 3 })
      yield* refuses("groups", load, { ...four, groups: 3 })
      yield* refuses("groups", load, { ...four, groups: 0 })
      yield* refuses("previous", load, { ...four, previous: { members: [0, 1], layers: [[0, 1, 2, 3, 0, 1]] } })
      yield* refuses("previous", load, { ...four, previous: { members: [0], layers: [[0, 1], [2, 3]] } })
    }))
})
