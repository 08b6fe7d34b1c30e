import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/elastic", () => {
  it.live("MO-11: loses no request and changes no text while the group grows and shrinks", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/elastic/main.ts", "--json", "--sizes", "2,3,1")
      assert.deepStrictEqual([code, stderr], [0, ""])
      const { completed, identical, recomputed, requests, scalings } = JSON.parse(stdout.trim().split("\n").at(-1)!)
      assert.isAbove(requests, 15)
      assert.deepStrictEqual([completed, identical, recomputed], [requests, requests, 0])
      assert.deepStrictEqual(scalings.map((scaling: any) => [scaling.from, scaling.to]), [[2, 3], [3, 1]])
      for (const { across, ownedWithin, pauseMs, steps, totalMs } of scalings) {
        assert.isAtLeast(across, 8)
        assert.isBelow(ownedWithin, 20)
        assert.isBelow(pauseMs, totalMs)
        assert.deepStrictEqual(Object.keys(steps), ["validate", "prepare", "copy", "ready", "decide", "commit", "retire"])
      }
    }))

  it.live("MO-13: is carried on by another process that asks for the same requests, of which none is lost", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/elastic/main.ts", "--json", "--kill-driver", "--sizes", "2,3")
      assert.deepStrictEqual([code, stderr], [0, ""])
      const { accepted, completed, identical, kept, lost, recomputed, requests, scalings, signal } = JSON.parse(stdout)
      assert.deepStrictEqual([signal, lost, kept], ["SIGKILL", 0, 2])
      assert.isAbove(accepted, 15)
      assert.isAtLeast(requests, accepted)
      assert.deepStrictEqual([completed, identical, recomputed], [requests, requests, 0])
      assert.deepStrictEqual(scalings.map((scaling: any) => [scaling.from, scaling.to]), [[2, 3]])
      assert.isAtLeast(scalings[0].across, 8)
    }))
})
