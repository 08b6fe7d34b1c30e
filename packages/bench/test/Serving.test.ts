import { assert, describe, it } from "@effect/vitest"
import * as Serving from "../src/ray/Serving.ts"

/** A request whose first token comes after so long, and the others after these gaps, in milliseconds. */
const timing = (start: number, first: number, ...gaps: ReadonlyArray<number>): Serving.Timing => {
  const tokens = [start + first]
  for (const gap of gaps) tokens.push(tokens.at(-1)! + gap)
  return { start, tokens }
}

const close = (actual: Serving.Statistics, [mean, median, p99]: readonly [number, number, number]) => {
  assert.closeTo(actual.mean, mean, 1e-6)
  assert.closeTo(actual.median, median, 1e-6)
  assert.closeTo(actual.p99, p99, 1e-6)
}

describe("a serving benchmark", () => {
  it("reckons as vLLM's does, on the values that it computes for four requests", () => {
    const three = [timing(0, 100, 20, 30, 50), timing(500, 300), timing(600, 200, 400, 500)]
    const served = Serving.of([...three, timing(1900, 50, 100)])
    assert.deepStrictEqual([served.requests, served.tokens], [4, 10])
    close(served.ttft, [162.5, 150, 297])
    close(served.itl, [550 / 3, 75, 495])
    // The last piece of text was four tokens, which there are counted and here come one by one.
    close(Serving.of([...three, timing(1900, 50, 25, 25, 25, 25)]).tpot, [169.44444444, 33.33333333, 441.66666667])
  })

  it("tells between which rounds a median lies", () => {
    const twenty = Array.from({ length: 20 }, (_, index) => index + 1)
    assert.deepStrictEqual(Serving.interval(twenty), { median: 10.5, from: 6, to: 15 })
    assert.deepStrictEqual(Serving.interval([1, 2, 3, 4, 5, 6]), { median: 3.5, from: 1, to: 6 })
    assert.deepStrictEqual(Serving.interval([2, 1]), { median: 1.5, from: 1, to: 2 })
  })
})
