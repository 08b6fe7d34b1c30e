import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describe, head } from "../../../test/harness/ray.ts"
import * as ControlPlane from "../src/ray/ControlPlane.ts"
import * as Table from "../src/ray/Table.ts"

describe("a bench on Ray", () => {
  it.live(
    "has the model written in three ways, which write the same, and tells them beside what vLLM has published",
    () =>
      Effect.gen(function*() {
        const { address, python, token } = yield* head
        const comparison = yield* ControlPlane.run({ head: { address, token }, python, ranks: 1, rounds: 1, tokens: 4 })
        for (const way of ControlPlane.ways) {
          const { requests, tokens, tpot } = comparison.served[way]
          assert.deepStrictEqual([requests, tokens], [8, 32])
          assert.isAbove(tpot.mean, 0)
        }
        const lines = Table.comparison(comparison, ControlPlane.ways).split("\n")
        assert.match(lines.find((line) => line.startsWith("vLLM's own mean TPOT"))!, /40\.95 +41\.11 +45\.88$/)
      }),
    120_000
  )
})
