/** That the decoders' tests have teeth: whoever takes a check out of a decoder is found out. */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "./harness/program.ts"
import { type Found, gaps, within } from "./harness/teeth.ts"

describe("decoders that lack a check", () => {
  let found: ReadonlyArray<Found> = []
  beforeAll(async () => {
    const { code, stderr, stdout } = await Effect.runPromise(run("test/harness/teeth.ts"))
    assert.strictEqual(code, 0, stderr)
    found = JSON.parse(stdout)
  })

  for (const [index, { check, decoder, file, missing }] of gaps.entries()) {
    it(`FZ-6: ${decoder} without ${missing}`, () => {
      const { inputs, issue, places } = found[index]!
      assert.strictEqual(places, 1, `${check} is not in ${file} exactly once`)
      assert.isDefined(issue, `nothing noticed in ${within} inputs`)
      assert.isAtMost(inputs, within)
    })
  }
})
