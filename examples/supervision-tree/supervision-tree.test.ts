import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/supervision-tree", () => {
  it.live("starts the store and what stands after it anew", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/supervision-tree/main.ts")
      assert.deepStrictEqual([code, stderr, stdout.split("\n")], [0, "", [
        "Started store 0",
        "Started front 0",
        "Failed store 0",
        "Stopped front 0",
        "Stopped store 0",
        "Started store 1",
        "Started front 1",
        "the store has 2 new processes",
        ""
      ]])
    }))
})
