import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "./harness/program.ts"

describe("simulated groups", () => {
  // All by one program: a new one is half as fast for its first hundred seeds.
  it.live("hold the contract in a world that fails, seeds 1 to 2000", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("scripts/simulate.ts", "--kind", "group", "--seeds", "2000", "--json")
      assert.deepStrictEqual([code, JSON.parse(stdout.trim().split("\n").at(-1)!)], [0, { seeds: 2000, failures: 0 }], stdout)
      // Faults meet every state that a rank can be in.
      assert.match(stdout, /Kill .*\d/)
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
