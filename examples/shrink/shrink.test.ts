import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/shrink", () => {
  it.live("goes on without the dead rank's row", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/shrink/main.ts")
      assert.deepStrictEqual([code, stderr, stdout.split("\n")], [0, "", [
        "6 ranks meet",
        "members that left: 2 3",
        "rank 0 of 4, member 0, holds a0",
        "rank 1 of 4, member 1, holds a1",
        "rank 2 of 4, member 4, holds c0",
        "rank 3 of 4, member 5, holds c1",
        "4 ranks meet",
        ""
      ]])
    }))
})
