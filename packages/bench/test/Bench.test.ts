import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Call } from "../src/benches/Call.ts"
import { Placing } from "../src/benches/Placing.ts"
import * as Depth from "../src/Depth.ts"
import * as Report from "../src/Report.ts"
import * as Row from "../src/Row.ts"
import * as Systems from "../src/Systems.ts"

describe("a bench", () => {
  it.live("asks every system, verifies its answers and reports them as one line of JSON", () =>
    Effect.gen(function*() {
      const rows = yield* Call.run(Depth.smoke)
      const { name, machine, rows: reported } = JSON.parse(Report.json({ bench: Call, rows }))
      assert.strictEqual(name, "call")
      assert.match(machine, /Node 2\d/)
      assert.deepStrictEqual(reported.map((row: { system: string }) => row.system), Systems.callable)
      for (const row of reported) {
        assert.deepStrictEqual(Object.keys(row), ["system", "workers", "bytes", "n", "p50", "p99"])
        assert.deepStrictEqual([row.workers, row.bytes], [1, 64])
        assert.isAtLeast(row.n, 10)
        assert.isAbove(row.p50, 0)
        assert.isAtLeast(row.p99, row.p50)
      }
    }))

  it.live("places a large model's experts, beside numpy where there is one, and compares the maps", () =>
    Effect.gen(function*() {
      const rows = yield* Placing.run(Depth.smoke)
      assert.strictEqual(rows[0]!.system, "phalanx")
      assert.include([1, 3], rows.length)
      for (const row of rows) assert.deepStrictEqual([row.workers, row.bytes, row.n], [32, 288, 5])
    }))

  it("draws rounds together by the median of their medians", () => {
    const rounds = [[1, 2, 3], [10, 20, 30], [4, 5, 6]].map((values) => ({ values, foreign: 0 }))
    const { n, p50, p99, spread } = Row.of("phalanx", { workers: 1, bytes: 64 }, rounds)
    assert.deepStrictEqual({ n, p50, p99, spread }, { n: 9, p50: 5, p99: 6, spread: [2, 20] })
  })
})
