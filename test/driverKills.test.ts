import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { campaign } from "./campaigns/driverKills.ts"

describe("drivers killed at random moments", () => {
  it.live(
    "CO-10 RE-1: no worker runs a second later, and no file is left after the next start: killed while it starts, under load, with a worker blocked",
    () =>
      Effect.gen(function*() {
        const seed = Math.floor(Math.random() * 2 ** 32)
        const { goneMillis, rounds, workers, workersLeft, filesLeft } = yield* campaign({ rounds: 3, seed, ranks: 2 })
        assert.deepStrictEqual({ seed, rounds, workersLeft, filesLeft }, { seed, rounds: 3, workersLeft: 0, filesLeft: 0 })
        assert.isAtLeast(workers, 4)
        assert.isBelow(goneMillis.max, 1000)
      }),
    180_000
  )
})
