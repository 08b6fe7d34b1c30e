import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/elastic-counter", () => {
  it.live("is carried on by another process, which loses no count", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/elastic-counter/main.ts")
      assert.deepStrictEqual([code, stderr, stdout.split("\n")], [0, "", [
        "the driver of 2 ranks ends with SIGKILL",
        "another one carries on: 3 ranks, the first two the same processes",
        "and goes on to members 1, 2, counting meanwhile",
        "counters that are what they should be: 50 of 50",
        ""
      ]])
    }))
})
