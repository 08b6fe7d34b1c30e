import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Pair, type Paired } from "./cluster.ts"

export const calls = (it: Paired) =>
  describe("calls by name on Ray", () => {
    it.effect("RY-1: go to a method of the protocol, checked by its schema, with all replies or one rank's, and end in time", () =>
      Effect.gen(function*() {
        const { group } = yield* Pair
        const bytes = Uint8Array.of(1, 2, 3)
        assert.deepStrictEqual(yield* group.callByName("echo", { bytes }), [bytes, bytes])
        assert.deepStrictEqual(yield* group.slice({ tp: [1] }).callByName("echo", { bytes }), [bytes])
        const [first, second] = yield* group.call.place()
        assert.deepStrictEqual([yield* group.callByName("place", undefined, { replyFrom: 1 })], [second])
        assert.deepStrictEqual([yield* group.callByName("place", undefined, { replyFrom: { pp: 0, tp: 0 } })], [first])

        const refused = (method: string, payload: unknown) =>
          Effect.map(Effect.flip(group.callByName(method, payload)), ({ reason }) => reason)
        const unknown = yield* refused("reboot", {})
        assert.deepInclude(unknown, {
          _tag: "CallRejected",
          side: "driver",
          issue: "no method reboot; the protocol has meet, environment, place, echo, hold, start"
        })
        assert.deepInclude(yield* refused("echo", { bytes: "1 2 3" }), { _tag: "CallRejected", side: "driver" })

        const began = performance.now()
        const late = yield* Effect.flip(group.callByName("hold", { stderr: [] }, { timeout: "200 millis" }))
        assert.strictEqual(late.method, "hold")
        assert.deepInclude(late.reason, { _tag: "CallTimeout" })
        assert.isBelow(performance.now() - began, 2000)
        assert.deepStrictEqual(yield* group.callByName("echo", { bytes }), [bytes, bytes])
      }))
  })
