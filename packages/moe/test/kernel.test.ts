import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Wasm from "../src/internal/kernel.ts"
import * as Oracle from "../src/internal/oracle.ts"

const pages = 4
const half = pages * 32768

// A seeded generator (xorshift), so that a failure names its inputs.
const random = (seed: number) => {
  let state = (seed | 0) || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 0x1_0000_0000
  }
}

/** Runs a step on the same random memory in WebAssembly and in TypeScript. The second half is scratch and is not compared. */
const agree = (seed: number, size: number, run: (kernel: Wasm.Kernel, memory: WebAssembly.Memory) => void) => {
  const [left, right] = [Wasm.make, Oracle.make].map((make) => {
    const memory = new WebAssembly.Memory({ initial: pages })
    const next = random(seed)
    new Float32Array(memory.buffer, 0, half / 4).forEach((_, i, all) => {
      all[i] = (next() - 0.5) * size * 2 ** Math.floor(next() * 8 - 4)
    })
    run(make(memory), memory)
    return Buffer.from(memory.buffer, 0, half)
  })
  assert.isTrue(left!.equals(right!))
}

const seeds = { seed: Schema.Int }
const arbitrary = { arbitrary: { runs: 20 } }
const of = (seed: number, ...choices: ReadonlyArray<number>) => choices[Math.abs(seed) % choices.length]!

describe("the WebAssembly kernel has the bits of the TypeScript one", () => {
  it.effect.prop(
    "in products with float32 matrices",
    seeds,
    ({ seed }) =>
      Effect.sync(() => agree(seed, 1, (k) => k.multiply(0, 65536, 98304, of(seed, 64, 256, 8), of(seed, 32, 4, 64), of(seed, 1, 3, 7)))),
    arbitrary
  )

  it.effect.prop(
    "in products with int8 matrices, of one row and of many",
    seeds,
    ({ seed }) =>
      Effect.sync(() =>
        agree(seed, 1, (k, memory) => {
          const next = random(seed)
          const q = new Int8Array(memory.buffer, 0, 32768)
          q.forEach((_, i) => {
            q[i] = next() * 256 - 128
          })
          k.multiplyInt8(0, 32768, 65536, 1024, 98304, of(seed, 64, 256, 128), of(seed, 128, 64, 4), of(seed, 1, 2, 1, 9), half)
        })
      ),
    arbitrary
  )

  it.effect.prop(
    "in normalising rows",
    seeds,
    ({ seed }) => Effect.sync(() => agree(seed, of(seed, 1, 1e-6, 1e4), (k) => k.normalise(0, 65536, 98304, 256, of(seed, 1, 5), 1e-5))),
    arbitrary
  )

  it.effect.prop("in rotating and remembering heads", seeds, ({ seed }) =>
    Effect.sync(() =>
      agree(seed, 1, (k) => {
        k.rotate(0, 65536, 66560, of(seed, 2, 4, 8))
        k.remember(0, 2048, 4096 + 128 * of(seed, 0, 1, 63), of(seed, 2, 4))
      })
    ), arbitrary)

  it.effect.prop(
    "in attention over any number of positions and blocks",
    seeds,
    ({ seed }) =>
      Effect.sync(() =>
        agree(seed, of(seed, 1, 4), (k, memory) => {
          // Blocks of two layers of two heads each, in no order.
          new Uint32Array(memory.buffer, 0, 2).set([65536 + 4096, 4096])
          k.attend(512, 0, of(seed, 0, 32768), of(seed, 1, 2, 3, 4, 5, 63, 64, 65, 100, 128), 1, 1024, 2048, 1 / Math.sqrt(32))
        })
      ),
    arbitrary
  )

  it.effect.prop(
    "in softmax, the choice of experts and the gate, far out too",
    seeds,
    ({ seed }) =>
      Effect.sync(() =>
        agree(seed, of(seed, 1, 10, 1000), (k) => {
          k.softmax(0, of(seed, 16, 128, 2048))
          k.choose(4096, 32, 8192, 8224)
          k.gate(16384, 32768, 49152, of(seed, 4, 128))
        })
      ),
    arbitrary
  )

  it.effect.prop("in adding and combining", seeds, ({ seed }) =>
    Effect.sync(() =>
      agree(seed, 1, (k) => {
        k.add(0, 4096, 256)
        k.combine(0, 16384, 65536, 256, of(seed, 1, 3))
      })
    ), arbitrary)

  it("which takes the lower index of equal experts, in order", () =>
    agree(1, 1, (k, memory) => {
      new Float32Array(memory.buffer, 0, 32).fill(0.5)
      k.choose(0, 32, 256, 512)
      assert.deepStrictEqual([...new Int32Array(memory.buffer, 256, 4)], [0, 1, 2, 3])
      assert.deepStrictEqual([...new Float32Array(memory.buffer, 512, 4)], [0.25, 0.25, 0.25, 0.25])
    }))

  it("and whose exponential is as near as float32 can be", () => {
    const memory = new WebAssembly.Memory({ initial: pages })
    const floats = new Float32Array(memory.buffer)
    const kernel = Wasm.make(memory)
    for (let x = -80; x < 80; x += 0.37) {
      // gate gives z / (1 + exp(-z)): with z = -x and up = 1 the exponential can be read off.
      floats.fill(-x, 0, 4).fill(1, 4, 8)
      kernel.gate(0, 16, 32, 4)
      const exact = -Math.fround(x) / (1 + Math.exp(Math.fround(x)))
      assert.isAtMost(Math.abs(floats[8]! - exact), Math.abs(exact) * 2 ** -22)
    }
  })
})
