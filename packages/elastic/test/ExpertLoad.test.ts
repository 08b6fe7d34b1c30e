import { assert, describe, it } from "@effect/vitest"
import * as ExpertLoad from "../src/ExpertLoad.ts"
import { range } from "./vectors.ts"

describe("expert load", () => {
  it("EP-9: counts the last 1000 of 3000 passes, and the first interval is a quarter as long", () => {
    const load = ExpertLoad.make({ layers: 1, logical: 2 })
    assert.deepStrictEqual(load.load(), [[1, 1]])
    const due: Array<number> = []
    for (let pass = 1; pass <= 750 + 3000; pass++) if (load.record([[1, pass <= 750 + 2000 ? 100 : 0]])) due.push(pass)
    assert.deepStrictEqual(due, [750, 3750])
    assert.deepStrictEqual(load.load(), [[1000, 0]])
  })

  it("EP-9: a window never reaches into the interval before, however long it is said to be", () => {
    const load = ExpertLoad.make({ layers: 2, logical: 1, interval: 4, window: 9 })
    assert.deepStrictEqual(range(5).map(() => load.record([[2], [3]])), [true, false, false, false, true])
    assert.deepStrictEqual(load.load(), [[8], [12]])
  })

  it("EP-9: what ranks have counted adds up", () => {
    assert.deepStrictEqual(ExpertLoad.sum([[[1, 2]], [[3, 4]], [[10, 20]]]), [[14, 26]])
    assert.deepStrictEqual(ExpertLoad.sum([]), [])
  })
})
