import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "./harness/program.ts"

/** Groups from so many seeds: what the command says last. */
const simulate = (from: number, seeds: number) =>
  Effect.map(
    run("scripts/simulate.ts", "--half", "group", "--from", String(from), "--seeds", String(seeds), "--json"),
    ({ code, stdout }) => ({ code, tally: JSON.parse(stdout.trim().split("\n").at(-1)!), stdout })
  )

describe("simulated groups", () => {
  for (const from of [1, 401, 801, 1201, 1601]) {
    it.live(`hold the contract in a world that fails, seeds ${from} to ${from + 399}`, () =>
      Effect.gen(function*() {
        const { code, stdout, tally } = yield* simulate(from, 400)
        assert.deepStrictEqual([code, tally], [0, { seeds: 400, failures: 0 }], stdout)
        // Faults meet every state that a rank can be in.
        assert.match(stdout, /Kill .*\d/)
      }))
  }

  it.live("are told line by line, and the same each time, from one seed", () =>
    Effect.gen(function*() {
      const one = () => run("scripts/simulate.ts", "--half", "group", "--seed", "7")
      const [first, second] = yield* Effect.all([one(), one()])
      const withoutTime = (text: string) => text.replace(/[\d.]+ s$/gm, "")
      assert.strictEqual(withoutTime(second.stdout), withoutTime(first.stdout))
      assert.isAbove(first.stdout.split("\n").length, 20)
    }))
})
