import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"

describe("Mesh", () => {
  const mesh = Mesh.make({ dp: 2, pp: 3, tp: 2 })

  it("ME-1: ranks are row-major and every rank has one place", () => {
    assert.strictEqual(mesh.ranks.length, 12)
    assert.deepStrictEqual(Mesh.place(mesh, 7).coordinates, { dp: 1, pp: 0, tp: 1 })
    for (const rank of mesh.ranks) assert.strictEqual(Mesh.rankAt(mesh, Mesh.place(mesh, rank).coordinates), rank)
  })
  it("ME-2: a number fixes and removes a dimension, an array narrows and keeps it", () => {
    const tp1 = Mesh.slice(mesh, { tp: 1 })
    assert.deepStrictEqual(tp1.shape, { dp: 2, pp: 3 })
    assert.deepStrictEqual(tp1.ranks, [1, 3, 5, 7, 9, 11])
    const some = Mesh.slice(mesh, { pp: [2, 0], dp: 1 })
    assert.deepStrictEqual(some.shape, { pp: 2, tp: 2 })
    assert.deepStrictEqual(some.ranks, [10, 11, 6, 7])
    assert.deepStrictEqual(Mesh.place(some, 3), { rank: 7, coordinates: { pp: 1, tp: 1 } })
  })
  it("ME-3: a slice of a slice is the slice of both", () => {
    assert.deepStrictEqual(Mesh.slice(Mesh.slice(mesh, { dp: 1 }), { tp: 0 }).ranks, Mesh.slice(mesh, { dp: 1, tp: 0 }).ranks)
  })
  it("ME-4: what does not fit is a RangeError that names it", () => {
    assert.throws(() => Mesh.make({ dp: 0 }), /dp/)
    assert.throws(() => Mesh.make({ dp: 1.5 }), /dp/)
    assert.throws(() => Mesh.make({ "0": 2 }), /number/)
    assert.throws(() => Mesh.slice(mesh, { tp: 2 }), /tp: 2 is outside 0 … 1/)
    assert.throws(() => Mesh.slice(mesh, { xp: 1 } as {}), /xp/)
    assert.throws(() => Mesh.slice(mesh, { pp: [] }), /pp: an array of no coordinates/)
    assert.throws(() => Mesh.slice(mesh, { pp: [2, 0, 2] }), /pp: 2 is repeated/)
    assert.throws(() => Mesh.rankAt(mesh, { dp: 0, tp: 0 } as any), /pp/)
    assert.throws(() => Mesh.place(mesh, 12), /no place 12/)
  })
})
