import { assert, describe, it } from "@effect/vitest"
import * as MessagePack from "msgpackr"
import * as Codec from "../src/internal/codec.ts"
import { Encoder } from "../src/internal/encoder.ts"
import { random } from "./fixtures/random.ts"

const seeds = Array.from({ length: 20 }, (_, seed) => seed)

type Next = ReturnType<typeof random>

const numbers = [0, 1, -1, 31, 32, 127, 128, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, -32, -33, -128]
  .concat([-129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 53), 0.1, -1.5, 5e-324, Infinity, -Infinity, NaN])
const letters = ["", "a", "method", "ä", "€", "😀", "\u0000", "Ã¤"]

const text = (next: Next): string =>
  letters[next(letters.length)]!.repeat(next(60) === 0 ? next(70_000) : next(3) === 0 ? next(300) : next(30))

const plain = (next: Next, depth: number): unknown => {
  const few = () => next(depth === 0 ? 1 : next(10) === 0 ? 40 : 5)
  switch (next(8)) {
    case 0:
      return [null, true, false][next(3)]
    case 1:
    case 2:
      return next(2) === 0 ? numbers[next(numbers.length)] : next(2 ** 31) - next(2 ** 31)
    case 3:
      return text(next)
    case 4:
      return new Uint8Array(next(30) === 0 ? next(70_000) : next(100)).fill(next(256))
    case 5:
      return Array.from({ length: few() }, () => plain(next, depth - 1))
    default:
      return Object.fromEntries(Array.from({ length: few() }, () => [text(next), plain(next, depth - 1)]))
  }
}

const frameOf = (seed: number): ReadonlyArray<unknown> => {
  const next = random(seed)
  return Array.from({ length: 1 + next(12) }, () => plain(next, 4))
}

const reader = new MessagePack.Unpackr({ useRecords: false, mapsAsObjects: true, copyBuffers: true })
const writer = new MessagePack.Packr({ useRecords: false, variableMapSize: true })
const asPlain = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

describe("frames as MessagePack", () => {
  it.each(seeds)("are read as they were written, here and by another implementation, and so are that one's (seed %i)", (seed) => {
    const frame = frameOf(seed)
    const bytes = Codec.pack(frame)
    assert.deepStrictEqual(Codec.unpack(bytes), frame)
    assert.deepStrictEqual(Codec.unpackOwn(bytes), frame)
    assert.deepStrictEqual(reader.unpack(asPlain(bytes)), frame)
    assert.deepStrictEqual(Codec.unpack(asPlain(writer.pack(frame))), frame)
  })

  it("stay as they are while others are packed, whatever their size", () => {
    const frames = [10, 5000, 70_000, 1_500_000, 20, 3_000_000, 8180, 8190, 8200].map((
      length
    ) => ["x".repeat(length % 1000), new Uint8Array(length).fill(length)])
    const packed = frames.map(Codec.pack)
    assert.deepStrictEqual(packed.map((bytes) => Codec.unpack(bytes)), frames)
  })

  it.each(seeds)("are the same if long byte arrays are lent, which are then not copied (seed %i)", (seed) => {
    const next = random(seed)
    const frame = frameOf(100 + seed).concat(
      [new Uint8Array(1000 + next(1000)), "between", new Uint8Array(2000)],
      next(2) === 0 ? [] : ["after"]
    )
    const encoder = new Encoder()
    encoder.encode(frame, 1000)
    const parts = [encoder.bytes.subarray(0, encoder.length), ...encoder.more]
    assert.deepStrictEqual(Codec.unpack(Buffer.concat(parts)), frame)
    for (const value of frame) if (value instanceof Uint8Array && value.length >= 1000) assert.isTrue(encoder.more.includes(value))
    encoder.encode(["next"], 1000)
    assert.deepStrictEqual(encoder.more, [])
  })

  it("keep undefined and the fields of an instance; what is more than its fields, or a trap, is refused", () => {
    class Point {
      readonly x = 1
    }
    assert.deepStrictEqual(Codec.unpack(Codec.pack([undefined, new Point(), { constructor: 1 }])), [undefined, { x: 1 }, {
      constructor: 1
    }])
    // Half a character has no UTF-8.
    assert.deepStrictEqual(Codec.unpack(Codec.pack(["\ud800"])), ["\ufffd"])
    let deep: unknown = null
    for (let depth = 0; depth < 256; depth++) deep = [deep]
    for (
      const value of [
        new Date(),
        new Map(),
        new Error("no"),
        new Float32Array(1),
        1n,
        () => 1,
        Symbol("s"),
        JSON.parse(`{ "__proto__": 1 }`),
        deep
      ]
    ) {
      assert.throws(() => Codec.pack([{ value }]), "not plain data: ")
    }
    assert.deepStrictEqual(Codec.unpack(Codec.pack(["after"])), ["after"])
  })

  it.each(seeds)("that are cut, or changed anywhere, are refused or other frames, and never anything else (seed %i)", (seed) => {
    const next = random(seed)
    const bytes = asPlain(Codec.pack(frameOf(200 + seed)))
    for (let cut = 0; cut < 200; cut++) assert.throws(() => Codec.unpack(bytes, next(bytes.length)), TypeError)
    for (let change = 0; change < 200; change++) {
      const changed = bytes.slice()
      for (let count = 1 + next(3); count > 0; count--) changed[next(Math.min(changed.length, 200))] = next(256)
      try {
        assert.isTrue(Array.isArray(Codec.unpack(changed)))
      } catch (cause) {
        assert.instanceOf(cause, TypeError)
      }
    }
    // It says that more follows than the memory of any machine holds.
    assert.throws(() => Codec.unpack(Uint8Array.from([0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0])), TypeError)
  })
})
