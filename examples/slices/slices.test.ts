import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/slices", () => {
  it.live("addresses rows, columns and single actors", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("examples/slices/main.ts")
      assert.deepStrictEqual([code, stdout.trim().split("\n")], [0, [
        "all             a0 a1 a2 b0 b1 b2",
        "row 1           b0 b1 b2",
        "columns 0 and 2 a0 a2 b0 b2",
        "of those, row 0 a0 a2",
        "one             b2"
      ]])
    }))
})
