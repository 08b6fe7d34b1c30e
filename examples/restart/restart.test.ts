import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/restart", () => {
  it.live("counts on where the killed process was", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/restart/main.ts")
      assert.deepStrictEqual([code, stderr, stdout.split("\n")], [0, "", [
        "totals 0 10",
        "rank 1 is gone: signal",
        "totals 1 11",
        "rank 1 is incarnation 1 in another process: true",
        ""
      ]])
    }))
})
