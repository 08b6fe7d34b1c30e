import { assert, describe, it } from "@effect/vitest"
import * as Waking from "@phalanx/queue/Waking"
import * as Effect from "effect/Effect"
import { filesOf } from "./fixtures/processes.ts"

describe("the cost of waking up", () => {
  it.live("is measured with processes that sleep between turns, and leaves nothing", () =>
    Effect.gen(function*() {
      const micros = yield* Waking.measure({ processes: 2, rounds: 200 })
      assert.strictEqual(micros.length, 180)
      assert.isAbove(micros[0]!, 0)
      assert.deepStrictEqual(micros, micros.toSorted((a, b) => a - b))
      assert.deepStrictEqual(filesOf("-waking-"), [])
    }))
})
