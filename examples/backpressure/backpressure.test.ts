import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/backpressure", () => {
  it.live("holds back the slow rank's callers, and nobody else", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/backpressure/main.ts")
      assert.deepStrictEqual([code, stderr, stdout.split("\n")], [0, "", [
        "rank 0 has 4 requests, and 6 wait to be sent",
        "rank 1 serves customer 99 meanwhile",
        "rank 0 has served 0 1 2 3 4 5 6 7 8 9",
        ""
      ]])
    }))
})
