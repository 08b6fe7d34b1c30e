import { assert, describe, it } from "@effect/vitest"
import * as Placement from "../src/Placement.ts"
import * as Sampling from "../src/Sampling.ts"

describe("sampling", () => {
  it("takes the lowest byte of the largest logits when it is greedy", () => {
    assert.strictEqual(Sampling.choose([1, 3, 2, 3], Sampling.greedy, 5), 1)
  })

  it("MO-3: depends on seed and position alone", () => {
    const logits = Array.from({ length: 256 }, (_, i) => Math.sin(i))
    const draw = (seed: number) => Array.from({ length: 64 }, (_, position) => Sampling.choose(logits, { temperature: 1, seed }, position))
    assert.deepStrictEqual(draw(7), draw(7))
    assert.notDeepEqual(draw(7), draw(8))
    assert.notDeepEqual(draw(7), draw(7 + 2 ** 40))
    assert.notDeepEqual(draw(7), draw(-7))
  })

  it("draws each byte as often as its probability", () => {
    const logits = [0, Math.log(2), Math.log(5)]
    const counts = [0, 0, 0]
    for (let position = 0; position < 80_000; position++) {
      const byte = Sampling.choose(logits, { temperature: 1, seed: 3 }, position)
      counts[byte] = counts[byte]! + 1
    }
    const expected = [10_000, 20_000, 50_000]
    counts.forEach((count, byte) => assert.closeTo(count, expected[byte]!, 500))
  })

  it("is uniform over seeds as well as over positions", () => {
    for (const number of [(i: number) => Sampling.uniform(i, 0), (i: number) => Sampling.uniform(0, i)]) {
      const buckets = Array.from({ length: 16 }, () => 0)
      for (let i = 0; i < 16_000; i++) {
        const bucket = Math.floor(number(i) * 16)
        buckets[bucket] = buckets[bucket]! + 1
      }
      buckets.forEach((count) => assert.closeTo(count, 1000, 150))
    }
  })

  it("becomes greedy as the temperature falls", () => {
    const logits = [1, 1.5, 1.4]
    for (let position = 0; position < 100; position++) {
      assert.strictEqual(Sampling.choose(logits, { temperature: 1e-9, seed: 1 }, position), 1)
    }
  })
})

describe("placement", () => {
  it("gives every expert to one rank, in contiguous blocks as even as can be", () => {
    for (let ranks = 1; ranks <= 32; ranks++) {
      const held = Array.from({ length: ranks }, (_, rank) => Placement.resident(rank, 32, ranks))
      assert.deepStrictEqual(held.flat(), Array.from({ length: 32 }, (_, e) => e))
      const sizes = held.map((experts) => experts.length)
      assert.isAtMost(Math.max(...sizes) - Math.min(...sizes), 1)
    }
  })
})
