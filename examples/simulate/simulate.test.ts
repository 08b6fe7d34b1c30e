import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/simulate", () => {
  it.live("finds a bug, shrinks it, tells it and finds it again; what is mended holds", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/simulate/main.ts")
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^seed \d+: rank \d has counted \d+, and was asked to add \d+\n/)
      assert.match(stdout, /of 40 steps and 5 faults it takes 1 and 1\n/)
      assert.match(stdout, / \*\* member 0 .*\n[^]* step \d+: adds \d\n[^]* {3}violated: rank 0 has counted/)
      assert.match(stdout, /run again, the seed is the same\na counter that remembers holds for 40 seeds\n$/)
    }))
})
