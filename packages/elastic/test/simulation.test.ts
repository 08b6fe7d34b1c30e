import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { finds } from "../../../test/harness/hunted.ts"
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
})

finds("the simulation of groups that change their size", "packages/elastic/test/simulation/hunt.ts", mutants)
