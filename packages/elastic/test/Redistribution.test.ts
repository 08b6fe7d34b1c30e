import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Effect from "effect/Effect"
import * as Capacity from "../src/Capacity.ts"
import * as ExpertMap from "../src/ExpertMap.ts"
import * as MovementPlan from "../src/MovementPlan.ts"
import * as Placement from "../src/Placement.ts"
import * as Redistribution from "../src/Redistribution.ts"
import { range, vectors } from "./vectors.ts"

describe("lost members", () => {
  it.effect("EP-7: lost experts take the slots of those with a copy to spare, as in the reference", () =>
    Effect.gen(function*() {
      for (const { deadEpRanks, inputs, name, outputs } of vectors.failureRedistribution) {
        const { deadDpRanks, numLocalExperts, numLogical: logical, phy2log, tpSize: tp } = inputs
        const members = range(phy2log[0]!.length / numLocalExperts)
        const mesh = Mesh.make({ dp: members.length / tp, tp })
        const lost = Mesh.slice(mesh, { dp: deadDpRanks }).ranks
        assert.deepStrictEqual(lost, deadEpRanks)
        const { map, reload } = yield* Redistribution.redistribute({ members, layers: phy2log }, { logical, lost })
        assert.deepStrictEqual(map.layers, outputs.phy2log, name)
        assert.deepStrictEqual(reload.map(({ expert, layer }) => [layer, expert]), outputs.reload, name)
        for (const { expert, layer, slot } of reload) assert.strictEqual(map.layers[layer]![slot], expert)
        const { counts, slots } = ExpertMap.replicas(map, logical)
        assert.deepStrictEqual([counts, slots], [outputs.logcnt, outputs.log2phy], name)
      }
    }))

  it.effect("EP-7: without a copy to spare the error names the layer and the expert", () =>
    Effect.gen(function*() {
      const map = { members: [0, 1, 2], layers: [[0, 0, 1], [0, 1, 2]] }
      const error = yield* Effect.flip(Redistribution.redistribute(map, { logical: 3, lost: [2] }))
      assert.strictEqual(error.where, "layer 0, expert 2")
      const stranger = yield* Effect.flip(Redistribution.redistribute(map, { logical: 3, lost: [3] }))
      assert.strictEqual(stranger.message, "member 3: is none of the map's: 0, 1, 2. Name members that the map has")
    }))

  it.effect("EP-7: with other slots for survivors, copies come from those who have them and the rest from the file", () =>
    Effect.gen(function*() {
      const from = ExpertMap.initial({ members: range(4), layers: 1, logical: 8, physical: 12 })
      const physical = yield* Capacity.fit({ logical: 8, physical: 12, from: 4, to: 3 })
      const to = yield* Placement.nearest([range(8)], { from: ExpertMap.onto(from, [0, 1, 2]), members: [0, 1, 2], physical })
      const plan = yield* MovementPlan.make({ from, to, expertBytes: 1, lost: [3] })
      assert.isTrue(range(8).every((expert) => to.layers[0]!.includes(expert)))
      assert.isTrue(MovementPlan.bytes(plan).every(({ from }) => from !== 3))
      // Member 3 had copies of 1, 2 and 3, which the others have as well: nothing has to be read.
      assert.isFalse(MovementPlan.bytes(plan).some(({ from }) => from === "file"))
      const worse = yield* MovementPlan.make({ from, to, expertBytes: 1, lost: [1, 3] })
      assert.isTrue(MovementPlan.bytes(worse).some(({ from }) => from === "file"))
    }))
})
