import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "../../../test/harness/program.ts"
import { mutants } from "./simulation/mutants.ts"

describe("the simulation of groups", () => {
  for (const name of Object.keys(mutants)) {
    it.live(`finds it when ${name}`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run("packages/core/test/simulation/hunt.ts", name)
        assert.strictEqual(code, 0, stderr)
        assert.isAtLeast(JSON.parse(stdout).violations.length, 1)
      }))
  }
})
