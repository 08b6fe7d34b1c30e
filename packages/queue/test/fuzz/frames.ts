import { isPlain, same } from "../../../../test/harness/data.ts"
import { Broken, type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { anyValue, mutateBytes } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as Codec from "../../src/internal/codec.ts"
import { maxDepth } from "../../src/internal/plainData.ts"
import * as MessagePack from "./messagePack.ts"

const attempt = (unpack: () => ReadonlyArray<unknown>): { readonly frame: ReadonlyArray<unknown> } | { readonly issue: string } => {
  try {
    return { frame: unpack() }
  } catch (cause) {
    if (!(cause instanceof TypeError) || !cause.message.startsWith("not a frame: ")) throw cause
    return { issue: cause.message }
  }
}

/** Plain data of a frame: no key is forbidden, so none of these values is refused. */
const frame = (random: Random): ReadonlyArray<unknown> => {
  const clean = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(clean)
      : typeof value === "object" && value !== null && !(value instanceof Uint8Array)
      ? Object.fromEntries(Object.entries(value).filter(([key]) => key !== "__proto__").map(([key, item]) => [key, clean(item)]))
      : value
  const holes = random.list(random.below(10), () => clean(anyValue(random, 4)))
  if (random.once(8)) holes.push("x".repeat(random.below(300)), "ü€".repeat(random.below(60)))
  if (random.once(16)) {
    let deep: unknown = null
    for (let depth = maxDepth - 3 + random.below(3); depth > 0; depth--) deep = random.once(2) ? [deep] : { d: deep }
    holes.push(deep)
  }
  return holes
}

/** Bytes that mean something, where a change of any one byte would seldom put them. */
const tokens = [
  [0xc1],
  [0xd4, 0x42, 1],
  [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1],
  [0xd6, 0x69, 0, 0, 0, 1, 0x91, 0xd6, 0x70, 0, 0, 0, 1],
  [0xd6, 0xff, 0, 0, 0, 0],
  [0xd4, 0x73, 0, 0x91, 1],
  [0xd4, 0x65, 0, 0x92, 0xa4, 0x65, 0x76, 0x61, 0x6c, 0xa1, 0x31],
  [0xd4, 0x78, 0, 0x92, 0xa4, 0x28, 0x61, 0x2b, 0x29, 0xa0],
  [0xc7, 9, 0x74, 9, 0, 0, 0, 0, 0, 0, 0, 0],
  [0xd6, 0x62, 0, 0, 0, 4, 0xa0, 0xa0],
  [0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0],
  [0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 0],
  [0xdd, 0x7f, 0xff, 0xff, 0xff],
  [0xdf, 0x7f, 0xff, 0xff, 0xff],
  [0xc6, 0x7f, 0xff, 0xff, 0xff],
  [0xdb, 0x7f, 0xff, 0xff, 0xff],
  [0x81, 0xa9, ...Buffer.from("__proto__"), 0x81, 0xa1, 0x61, 1],
  [0x81, 0xc0, 1],
  Array.from({ length: 300 }, () => 0x91)
]

/** Bytes → a frame, by every way in. */
export const messagePack: Decoder = {
  name: "messagePack",
  sample: (random) => Uint8Array.from(MessagePack.encode(frame(random), random)),
  mutate: (bytes: Uint8Array, random) => {
    if (!random.once(6)) return mutateBytes(bytes, random)
    const at = random.below(bytes.length + 1)
    return Uint8Array.from([...bytes.subarray(0, at), ...random.pick(tokens), ...bytes.subarray(random.once(2) ? at : at + 1)])
  },
  judge: (bytes: Uint8Array) => {
    const expected = MessagePack.decode(bytes, maxDepth)
    const before = bytes.slice()
    const padded = new Uint8Array(bytes.length + 64).fill(0x91)
    padded.set(bytes)
    const ways = [
      attempt(() => Codec.unpack(bytes)),
      attempt(() => Codec.unpack(Buffer.from(bytes))),
      attempt(() => Codec.unpack(padded, bytes.length)),
      attempt(() => Codec.unpackOwn(bytes.slice()))
    ]
    holds(same(before, bytes), "changed its input")
    for (const way of ways) {
      if ("issue" in way) holds(expected === undefined, `refused a frame: ${way.issue}`)
      else if (expected === undefined) throw new Broken("took bytes that are no frame")
      else {
        holds(isPlain(way.frame, maxDepth), "made a frame that is not plain data")
        holds(same(way.frame, expected), "made another frame of the same bytes")
      }
    }
    const [first] = ways
    if ("issue" in first!) return first.issue
    // Minus zero is written as the integer; nothing else may change.
    const again = Codec.pack(first!.frame)
    holds(same(positive(Codec.unpack(again)), positive(first!.frame)), "a frame that was taken does not come back as it was")
    return "accepted"
  }
}

const positive = (value: unknown): unknown =>
  Object.is(value, -0)
    ? 0
    : Array.isArray(value)
    ? value.map(positive)
    : typeof value === "object" && value !== null && !(value instanceof Uint8Array)
    ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, positive(item)]))
    : value

const odd = [
  1n,
  new Date(0),
  new Set([1]),
  new Map([["a", 1]]),
  /a/g,
  new Error("a"),
  Symbol("a"),
  () => 1,
  new Float32Array(2),
  new ArrayBuffer(2),
  new DataView(new ArrayBuffer(2))
]

/** Stands for something odd in an input, which is plain data itself. */
const place = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(place)
    : typeof value !== "object" || value === null || value instanceof Uint8Array
    ? value
    : "odd" in value && typeof value.odd === "number" && value.odd in odd
    ? odd[value.odd]
    : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, place(item)]))

/** A value → bytes: what `pack` takes the other end takes, too, and gives back; the rest it refuses. */
export const packing: Decoder = {
  name: "packing",
  sample: frame,
  mutate: (value: ReadonlyArray<unknown>, random) =>
    random.once(4)
      ? value.toSpliced(random.below(value.length + 1), 1, random.once(2) ? { a: [{ odd: random.below(odd.length) }] } : anyValue(random))
      : value.toSpliced(random.below(value.length + 1), 0, anyValue(random, 5)),
  judge: (input: ReadonlyArray<unknown>) => {
    const value = place(input) as ReadonlyArray<unknown>
    let bytes: Uint8Array
    try {
      bytes = Codec.pack(value)
    } catch (cause) {
      if (!(cause instanceof TypeError) || !cause.message.startsWith("not plain data: ")) throw cause
      holds(
        !isPlain(value) || cause.message.includes("__proto__") || cause.message.includes("in each other"),
        `refused plain data: ${cause.message}`
      )
      return cause.message
    }
    holds(isPlain(value), "packed what is not plain data")
    holds(same(positive(Codec.unpack(bytes)), positive(value)), "packed a frame that does not come back as it was")
    return "accepted"
  }
}
