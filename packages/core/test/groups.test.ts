import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "../../../test/harness/program.ts"
import { mutants } from "./simulation/mutants.ts"

describe("the simulation of groups", () => {
  for (const [name, { shows = "" }] of Object.entries(mutants)) {
    it.live(`${shows === "" ? "" : `${shows}, `}SI-11: finds it when ${name}`, () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run("packages/core/test/simulation/hunt.ts", name)
        assert.strictEqual(code, 0, stderr)
        const { violations }: { readonly violations: ReadonlyArray<string> } = JSON.parse(stdout)
        assert.isTrue(violations.some((violation) => violation.startsWith(shows)), violations.join("\n"))
      }))
  }
})
