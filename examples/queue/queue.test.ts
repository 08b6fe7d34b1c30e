import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/queue", () => {
  it.live("every reader gets every message", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("examples/queue/main.ts")
      assert.deepStrictEqual([code, stdout], [0, "reader 0: 200010000\nreader 1: 200010000\nreader 2: 200010000\n"])
    }))
})
