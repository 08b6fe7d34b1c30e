import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/streams", () => {
  it.live("merges the squares of both ranks and stops their producers", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("examples/streams/main.ts")
      assert.deepStrictEqual([code, stdout.trim().split("\n")], [0, [
        Array.from({ length: 20 }, (_, n) => n * n).join(" "),
        "every producer has stopped"
      ]])
    }))
})
