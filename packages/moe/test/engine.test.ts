import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Engine from "../src/Engine.ts"
import * as Forward from "../src/Forward.ts"
import * as Oracle from "../src/internal/oracle.ts"
import * as Model from "../src/Model.ts"
import { Alone, make } from "./ranks.ts"

const text = (value: string) => [0, ...Buffer.from(value)]
const rows = (slot: number, from: number, tokens: ReadonlyArray<number>) =>
  tokens.map((token, i): Engine.Row => ({ slot, position: from + i, token }))
/** The logits after each byte of a text, taken in one by one. Computed once a text. */
const known = new Map<string, ReadonlyArray<Float32Array>>()
const alone = (engine: Engine.Engine, tokens: ReadonlyArray<number>): ReadonlyArray<Float32Array> => {
  const before = known.get(tokens.join())
  if (before !== undefined) return before
  engine.release(99)
  const logits = tokens.map((token, position) => Forward.step(engine, [{ slot: 99, position, token }], [0]).slice())
  engine.release(99)
  known.set(tokens.join(), logits)
  return logits
}

const long = text("accommodation\nn 1: making or becoming suitable; adjusting to circumstances\nn 2: a settlement of differences; they")
const words = [
  "actor\n",
  "black hole\nn 1: ",
  "x",
  "naïve café\n",
  "river\nn 1: a large natural stream",
  "\n",
  "quantum teapot\nn",
  "zebra"
]

layer(Alone.layer)("a row has the same bits", (it) => {
  it.effect.each([1, 7, 32, 64])("MO-1: in chunks of %d", (chunk) =>
    Effect.gen(function*() {
      const engine = yield* Alone
      const expected = alone(engine, long)
      engine.release(0)
      assert.deepStrictEqual(Forward.prefill(engine, 0, long, chunk), expected.at(-1))
      assert.deepStrictEqual(engine.readKv(0, 0, long.length), (Forward.prefill(engine, 1, long, 5), engine.readKv(1, 0, long.length)))
      engine.release(1)
    }))

  it.effect("MO-1: in a batch of eight requests, prompts and single bytes mixed", () =>
    Effect.gen(function*() {
      const engine = yield* Alone
      const expected = words.map((word) => alone(engine, text(word)))
      words.forEach((word, slot) => {
        engine.release(slot)
        if (slot % 2 === 0) Forward.prefill(engine, slot, text(word).slice(0, -1))
      })
      const batch = words.flatMap((word, slot) => {
        const from = engine.length(slot)
        return rows(slot, from, text(word).slice(from)).map((row) => ({ row, expected: expected[slot]![row.position]! }))
      })
      const logits = Forward.step(engine, batch.map(({ row }) => row), batch.map((_, i) => i))
      batch.forEach((entry, i) => assert.deepStrictEqual(logits.slice(i * 256, i * 256 + 256), entry.expected))
      words.forEach((_, slot) => engine.release(slot))
    }))

  it.effect.each([[2, 1], [3, 1], [4, 1], [1, 2], [2, 2], [1, 4]] as const)("MO-1: on %d × %d ranks", ([dp, tp]) =>
    Effect.gen(function*() {
      const engine = yield* Alone
      const ranks = yield* make(dp, tp)
      const prompts = Array.from({ length: dp }, (_, d) => text(words[d]!))
      const got = ranks.step(prompts.map((tokens) => rows(0, 0, tokens)))
      prompts.forEach((tokens, d) => {
        const expected = alone(engine, tokens)
        tokens.forEach((_, i) => assert.deepStrictEqual(got[d]!.slice(i * 256, i * 256 + 256), expected[i]))
      })
      const held = ranks.all.map((rank) => rank.stats().experts[0]!)
      assert.deepStrictEqual(held.flat(), Array.from({ length: 32 }, (_, e) => e))
    }))

  it.effect("MO-1: computed in plain TypeScript", () =>
    Effect.gen(function*() {
      const oracle = yield* Engine.make({ kernel: Oracle.make, rows: 4, blocks: 1 })
      const tokens = text("x")
      assert.deepStrictEqual(Forward.prefill(oracle, 0, tokens), alone(yield* Alone, tokens).at(-1))
    }))

  it.effect("MO-1: after its keys and values moved to another engine", () =>
    Effect.gen(function*() {
      const engine = yield* Alone
      const expected = alone(engine, long)
      const other = yield* Engine.make()
      engine.release(0)
      Forward.prefill(engine, 0, long.slice(0, 90))
      other.writeKv(7, 0, engine.readKv(0, 0, 70))
      other.writeKv(7, 70, engine.readKv(0, 70, 90))
      assert.strictEqual(other.length(7), 90)
      assert.deepStrictEqual(Forward.prefill(other, 7, long.slice(90)), expected.at(-1))
      engine.release(0)
    }))

  it.effect("MO-1: when a step is repeated", () =>
    Effect.gen(function*() {
      const engine = yield* Alone
      const expected = alone(engine, long)
      engine.release(0)
      Forward.prefill(engine, 0, long.slice(0, 20))
      Forward.step(engine, rows(0, 15, text("junk")), [0])
      assert.strictEqual(engine.length(0), 20)
      Forward.step(engine, rows(0, 15, long.slice(15, 20)), [0])
      assert.deepStrictEqual(Forward.prefill(engine, 0, long.slice(20)), expected.at(-1))
      engine.release(0)
    }))
})

describe("an engine", () => {
  it.live("takes blocks when they are needed and uses again what was released", () =>
    Effect.gen(function*() {
      const engine = yield* Engine.make({ experts: [], blocks: 3 })
      assert.strictEqual(engine.stats().blocksUsed, 0)
      assert.isTrue(engine.reserve(1, 65))
      assert.isFalse(engine.reserve(2, 65))
      assert.deepStrictEqual(engine.stats().slots, [1])
      assert.isTrue(engine.reserve(2, 64))
      assert.isTrue(engine.reserve(1, 128))
      const { memory } = engine.stats()
      engine.release(1)
      engine.release(2)
      assert.isTrue(engine.reserve(3, 192))
      assert.isFalse(engine.reserve(4, 1))
      assert.isFalse(engine.reserve(3, 513))
      assert.strictEqual(engine.stats().memory, memory)
    }))

  it.live("refuses rows that leave a gap, do not fit or are no bytes", () =>
    Effect.gen(function*() {
      const engine = yield* Engine.make({ experts: [], blocks: 1, rows: 2 })
      assert.throws(() => engine.embed([]), RangeError)
      assert.throws(() => engine.embed(rows(0, 0, [1, 2, 3])), RangeError)
      assert.throws(() => engine.embed(rows(0, 1, [1])), /append-only/)
      assert.throws(() => engine.embed(rows(0, 0, [256])), /no byte/)
      engine.embed(rows(0, 0, [1]))
      assert.throws(() => engine.embed(rows(1, 0, [1])), /no room/)
      assert.throws(() => engine.expert(0, 0, new Float32Array(256)), /not held/)
      assert.throws(() => engine.afterAttention([new Float32Array(255)]), /1024 bytes/)
      assert.throws(() => engine.readKv(0, 0, 2), RangeError)
      assert.throws(() => engine.writeKv(0, 0, new Uint8Array(100)), RangeError)
    }))

  it.live("passes experts on, and forgets them", () =>
    Effect.gen(function*() {
      const [left, right] = [yield* Engine.make({ rank: 0, ranks: 2 }), yield* Engine.make({ rank: 1, ranks: 2 })]
      const h = Float32Array.from({ length: 256 * 70 }, (_, i) => Math.sin(i))
      const before = left.stats().memory
      assert.isFalse(left.holds(2, 31))
      left.dropExpert(2, 3)
      left.putExpert(2, 31, right.expertBytes(2, 31))
      assert.strictEqual(left.stats().memory, before)
      assert.deepStrictEqual(left.expert(2, 31, h), right.expert(2, 31, h))
      yield* left.loadExpert(2, 3)
      assert.isTrue(left.holds(2, 3))
      assert.strictEqual(left.stats().experts[2]!.at(-1), 31)
      assert.throws(() => left.putExpert(0, 0, new Uint8Array(3)), RangeError)
      assert.strictEqual(Model.expertBytes(left.config), 100_352)
    }))

  it.live("takes float32 at any alignment", () =>
    Effect.gen(function*() {
      const engine = yield* Engine.make({ experts: [[0]] })
      const h = Float32Array.from({ length: 256 }, (_, i) => Math.cos(i))
      const shifted = new Uint8Array(1 + h.byteLength)
      shifted.set(new Uint8Array(h.buffer), 1)
      assert.deepStrictEqual(engine.expert(0, 0, shifted.subarray(1)), engine.expert(0, 0, h))
    }))

  it.live("writes until the context is full and no further", () =>
    Effect.gen(function*() {
      const engine = yield* Engine.make()
      const prompt = Uint8Array.from(Buffer.from("a".repeat(508)))
      const { bytes, ended } = Forward.generate(engine, prompt, { limit: 1000 })
      assert.isTrue(ended ? bytes.length < 4 : bytes.length === 4)
      assert.strictEqual(engine.stats().blocksUsed, 0)
    }))
})
