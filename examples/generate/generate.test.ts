import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/generate", () => {
  it.live("writes a dictionary entry", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("examples/generate/main.ts", "river")
      assert.strictEqual(code, 0)
      assert.strictEqual(
        stdout,
        "river\nn 1: a large natural stream of water (larger than a creek); \"the river was navigable for 50 miles\"\n"
      )
    }))
})
