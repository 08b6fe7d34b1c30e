import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/shrink", () => {
  it.live("goes on without the dead rank's row", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/shrink/main.ts")
      assert.deepStrictEqual([code, stderr, stdout.split("\n")], [0, "", [
        "4 ranks meet",
        "members that left: 0 1",
        "rank 0 of 2, member 2, holds b0",
        "rank 1 of 2, member 3, holds b1",
        "2 ranks meet",
        ""
      ]])
    }))
})
