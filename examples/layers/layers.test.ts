import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/layers", () => {
  it.live("gives the same totals on every layer", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("examples/layers/main.ts")
      assert.deepStrictEqual([code, stdout.trim().split("\n")], [0, [
        "memory: 0 1 from 1 process",
        "shm: 0 1 from 2 processes",
        "tcp: 0 1 from 2 processes"
      ]])
    }))
})
