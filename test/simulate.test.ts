import { assert, describe, it } from "@effect/vitest"
import * as Fault from "@phalanx/core/testing/Fault"
import * as Effect from "effect/Effect"
import { run } from "./harness/program.ts"

/** The printed table of faults by the states in which they found their members. */
const coverageOf = (printed: string) => {
  const [head = "", ...rows] = printed.split("\n")
  const states = head.trim().split(/\s+/).slice(1)
  const cells = rows.slice(0, rows.findIndex((row) => !row.startsWith("  "))).map((row) => row.trim().split(/\s+/))
  return { states, times: Object.fromEntries(cells.map(([fault, ...counts]) => [fault!, counts.map(Number)])) }
}

describe("simulated groups", () => {
  // All by one program: a new one is half as fast for its first hundred seeds.
  it.live("hold the contract in a world that fails, seeds 1 to 2000", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("scripts/simulate.ts", "--kind", "group", "--seeds", "2000", "--json")
      assert.deepStrictEqual([code, JSON.parse(stdout.trim().split("\n").at(-1)!)], [0, { seeds: 2000, failures: 0 }], stdout)
      // Each fault has met members in more than one state; two befall the driver, which has but one.
      const { states, times } = coverageOf(stdout)
      const ofDriver = ["Jump", "Stall"]
      assert.deepStrictEqual(Object.keys(times), Object.keys(Fault.all).sort())
      for (const [fault, counts] of Object.entries(times)) {
        assert.strictEqual(counts.length, states.length, fault)
        assert.isAtLeast(counts.filter((count) => count > 0).length, ofDriver.includes(fault) ? 1 : 2, fault)
      }
    }), 600_000)

  it.live("are told line by line, and the same each time, from one seed", () =>
    Effect.gen(function*() {
      const one = () => run("scripts/simulate.ts", "--kind", "group", "--seed", "7")
      const [first, second] = yield* Effect.all([one(), one()])
      const withoutTime = (text: string) => text.replace(/[\d.]+ s$/gm, "")
      assert.strictEqual(withoutTime(second.stdout), withoutTime(first.stdout))
      assert.isAbove(first.stdout.split("\n").length, 20)
    }))
})
