import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "../../../test/harness/program.ts"
import { mutants } from "./simulation/mutants.ts"

describe("simulated groups that change their size", () => {
  it.live(
    "SI-13, SI-14, WF-10, AD-7: hold their promises though drivers fall at any point of it, seeds 1 to 200",
    () =>
      Effect.gen(function*() {
        const { code, stdout } = yield* run("scripts/simulate.ts", "--kind", "elastic", "--seeds", "200", "--json")
        assert.deepStrictEqual([code, JSON.parse(stdout.trim().split("\n").at(-1)!)], [0, { seeds: 200, failures: 0 }], stdout)
        // Drivers fall at writes and in every part.
        assert.match(stdout, /Fall .*\d/)
        for (const part of ["a write", "prepare", "copy", "ready", "commit", "retire", "abort"]) assert.include(stdout, part)
      }),
    600_000
  )

  for (const [name, { shows = "" }] of Object.entries(mutants)) {
    it.live(`${shows === "" ? "" : `${shows}, `}SI-11: finds it when ${name}`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run("packages/elastic/test/simulation/hunt.ts", name)
        assert.strictEqual(code, 0, stderr)
        const { violations }: { readonly violations: ReadonlyArray<string> } = JSON.parse(stdout)
        assert.isTrue(violations.some((violation) => violation.startsWith(shows)), violations.join("\n"))
      }))
  }
})
