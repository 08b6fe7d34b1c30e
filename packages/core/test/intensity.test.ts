import { assert, describe, it } from "@effect/vitest"
import * as Supervision from "@phalanx/core/Supervision"
import * as intensity from "../src/internal/intensity.ts"

describe("the intensity of restarts", () => {
  it("SU-5: the first restart waits for nothing, each later one of the window twice as long, 30 seconds at most", () => {
    let now = 0
    const admit = intensity.make(() => now)
    const restart = Supervision.restart({ max: 12, per: "1 hour", backoff: "100 millis" })
    const waits = Array.from({ length: 13 }, () => {
      now += 1000
      return admit(restart)
    })
    assert.deepStrictEqual(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, undefined])
  })

  it("SU-5: a failure counts until the window has passed; one that was too many does not count", () => {
    let now = 0
    const admit = intensity.make(() => now)
    const restart = Supervision.restart({ max: 2, per: "10 seconds", backoff: "100 millis" })
    const at = (millis: number) => {
      now = millis
      return admit(restart)
    }
    assert.deepStrictEqual([at(0), at(4000), at(9999)], [0, 100, undefined])
    // The first is forgotten, then the second, then all.
    assert.deepStrictEqual([at(10_000), at(13_999), at(14_000)], [100, undefined, 100])
    assert.strictEqual(at(24_000), 0)
  })
})
