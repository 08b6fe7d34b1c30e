import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { describe, head } from "../../../test/harness/ray.ts"
import * as ControlPlane from "../src/ray/ControlPlane.ts"
import * as RayScalings from "../src/ray/RayScalings.ts"
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

describe(
  "changes of size on Ray",
  () => {
    it.live(
      "RY-9: two changes of the model's size under load leave placement groups, actors, processes and files as they were",
      () =>
        Effect.gen(function*() {
          const { address, python, token } = yield* head
          const changes: Array<readonly [number, number]> = []
          const scaled = yield* RayScalings.run(
            { head: { address, token }, python, sizes: [3, 2] },
            ({ from, to }) => void changes.push([from, to])
          )
          assert.deepStrictEqual(changes, [[2, 3], [3, 2]])
          assert.deepStrictEqual([scaled.completed, scaled.identical, scaled.recomputed], [scaled.requests, scaled.requests, 0])
          assert.strictEqual(scaled.held.length, 2)
          assert.deepInclude(scaled.held[0], { "placement groups": 2, actors: 2, processes: 4 })
          assert.deepStrictEqual(RayScalings.grown(scaled), [])
          assert.deepStrictEqual(RayScalings.grown({ ...scaled, held: [...scaled.held, { ...scaled.held[0], actors: 3 }] }), ["actors"])
          assert.include(RayScalings.words(scaled), "Nothing that is counted has grown.")
        }),
      120_000
    )
  },
  () =>
    process.env["PHALANX_RAY"] === "all" ? undefined : "the model under load takes ten seconds of a processor, and PHALANX_RAY is not `all`"
)
