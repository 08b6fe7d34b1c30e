import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../test/harness/program.ts"

describe("examples/adverbs", () => {
  it.live("shows what each adverb gives", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("examples/adverbs/main.ts")
      assert.deepStrictEqual([code, stdout.trim().split("\n")], [0, [
        "call       [ 10, 11, 12, 13 ]",
        "per rank   [ 0, 11, 22, 33 ]",
        "replyFrom  12",
        "at         11",
        "exits      [ 101, 102, 103, 'failed' ]",
        "fork       [ 20, 21, 22, 23 ]",
        "stream     [ '0: 30', '1: 31', '2: 32', '3: 33' ]",
        "broadcast  [ 7, 8, 7, 7 ]",
        "caught     rank 3 is tired of march"
      ]])
    }))
})
