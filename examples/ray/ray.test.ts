import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { runIn } from "../../test/harness/program.ts"
import { describe, environment } from "../../test/harness/ray.ts"

describe("examples/ray", () => {
  it.live("RY-1: prints on Ray what hello prints on this machine", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* runIn(yield* environment, "examples/ray/main.ts")
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^\[ 0, 1, 22, 33 \]\nRay 2\.60\.\d+, node 127\.0\.0\.2: \d+ CPUs are reserved\n$/)
    }))
})
