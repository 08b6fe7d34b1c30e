/** Inputs of decoders as plain values: others near one that there is, smaller ones, and their text in a file. */
import type { Random } from "./random.ts"

const numbers = [
  0,
  1,
  -1,
  2,
  7,
  13,
  15,
  16,
  31,
  32,
  63,
  64,
  127,
  128,
  255,
  256,
  4095,
  4096,
  65535,
  65536,
  2 ** 24,
  2 ** 30,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 48 - 1,
  2 ** 53 - 1,
  2 ** 53,
  1e300,
  0.5,
  -0.5,
  -(2 ** 31),
  -(2 ** 53),
  NaN,
  Infinity,
  -Infinity
]
const words = [
  "",
  "a",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "then",
  "length",
  "0",
  "-1",
  "\u0000",
  "ü",
  "\ufeff",
  "../x",
  "_tag",
  "data"
]

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

/** Anything that a frame, or another process, can hold. */
export const anyValue = (random: Random, depth = 3): unknown => {
  switch (random.below(depth > 0 ? 10 : 7)) {
    case 0:
      return null
    case 1:
      return random.once(2)
    case 2:
      return random.pick(numbers)
    case 3:
      return random.pick(words)
    case 4:
      return random.bytes(random.below(9))
    case 5:
      return undefined
    case 6:
      return random.word() - 2 ** 31
    case 7:
      return random.list(random.below(4), () => anyValue(random, depth - 1))
    default:
      return Object.fromEntries(random.list(random.below(4), () => [random.pick(words), anyValue(random, depth - 1)]))
  }
}

/** Other bytes: one changed, some gone, some twice, some in between. */
export const mutateBytes = (bytes: Uint8Array, random: Random): Uint8Array => {
  const at = random.below(bytes.length + 1)
  const rest = bytes.length - at
  switch (random.below(8)) {
    case 0:
      return bytes.map((byte, index) => index === at ? byte ^ 1 << random.below(8) : byte)
    case 1:
      return bytes.map((byte, index) => index === at ? random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]) : byte)
    case 2:
      return bytes.slice(0, at)
    case 3:
      return bytes.slice(at)
    case 4:
      return splice(bytes, at, random.below(Math.min(rest, 16) + 1), new Uint8Array())
    case 5:
      return splice(bytes, at, 0, random.bytes(1 + random.below(8)))
    case 6:
      return splice(bytes, at, 0, bytes.slice(at, at + random.below(Math.min(rest, 64) + 1)))
    default: {
      // A length, or a count, of another size.
      const copy = bytes.slice()
      const view = new DataView(copy.buffer)
      const size = random.pick([1, 2, 4])
      if (at + size > bytes.length) return copy
      const value = random.pick([0, 1, bytes.length, bytes.length - at, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff])
      if (size === 1) view.setUint8(at, value)
      else if (size === 2) view.setUint16(at, value, random.once(2))
      else view.setUint32(at, value, random.once(2))
      return copy
    }
  }
}

const splice = (bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array => {
  const result = new Uint8Array(bytes.length - remove + insert.length)
  result.set(bytes.subarray(0, at))
  result.set(insert, at)
  result.set(bytes.subarray(at + remove), at + insert.length)
  return result
}

/** A value that differs from another somewhere in its depth. */
export const mutateValue = (value: unknown, random: Random): unknown => {
  if (random.once(12)) return anyValue(random)
  if (value instanceof Uint8Array) return mutateBytes(value, random)
  if (typeof value === "string") return mutateText(value, random)
  if (typeof value === "number") {
    return random.once(3) ? random.pick(numbers) : value + random.pick([-1, 1, 2, -0.5, 256, value])
  }
  if (Array.isArray(value)) {
    const copy = value.slice()
    const at = random.below(copy.length + 1)
    const kind = random.below(8)
    if (kind === 0) copy.splice(at, 1)
    else if (kind === 1) copy.splice(at, 0, anyValue(random))
    else if (kind === 2) copy.splice(at, 0, ...copy.slice(at, at + 1 + random.below(3)))
    else if (kind === 3 && copy.length > 1) {
      const other = random.below(copy.length)
      const first = random.below(copy.length)
      ;[copy[first], copy[other]] = [copy[other], copy[first]]
    } else if (copy.length > 0) {
      const index = Math.min(at, copy.length - 1)
      copy[index] = mutateValue(copy[index], random)
    }
    return copy
  }
  if (isRecord(value)) {
    const entries = Object.entries(value)
    const at = random.below(entries.length + 1)
    const kind = random.below(8)
    if (kind === 0) entries.splice(at, 1)
    else if (kind === 1) entries.splice(at, 0, [random.pick(words), anyValue(random)])
    else if (entries.length > 0) {
      const entry = entries[Math.min(at, entries.length - 1)]!
      if (kind === 2) entry[0] = random.pick(words)
      else entry[1] = mutateValue(entry[1], random)
    }
    return Object.fromEntries(entries)
  }
  return anyValue(random)
}

const mutateText = (text: string, random: Random): string => {
  const at = random.below(text.length + 1)
  switch (random.below(6)) {
    case 0:
      return random.pick(words)
    case 1:
      return text.slice(0, at)
    case 2:
      return text.slice(at)
    case 3:
      return text.slice(0, at) + text.slice(at + 1 + random.below(4))
    case 4:
      return text.slice(0, at) + random.pick([...words, "\n", "/", ":", "{", "}", "[", "]", "\"", ",", "9", "e", "\\"]) + text.slice(at)
    default:
      return text.slice(0, at) + text.slice(at, at + random.below(20)) + text.slice(at)
  }
}

/** Values of which each lacks something that this one has; the smallest first. */
export function* smaller(value: unknown): Generator<unknown> {
  if (value instanceof Uint8Array || typeof value === "string") {
    const { length } = value
    for (let size = length; size > 0; size = size >> 1) {
      for (let at = 0; at + size <= length; at += size) {
        yield typeof value === "string" ? value.slice(0, at) + value.slice(at + size) : splice(value, at, size, new Uint8Array())
      }
    }
  } else if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) yield value.toSpliced(at, 1)
    for (let at = 0; at < value.length; at++) for (const item of smaller(value[at])) yield value.with(at, item)
  } else if (isRecord(value)) {
    for (const key of Object.keys(value)) {
      const { [key]: item, ...rest } = value
      yield rest
      for (const less of smaller(item)) yield { ...rest, [key]: less }
    }
  }
}

/** The text of an input, for a file. What JSON lacks is written as a record with one key that begins with `$`. */
export const write = (value: unknown): string => JSON.stringify(plain(value))

const plain = (value: unknown): unknown => {
  if (value === undefined) return { $: "undefined" }
  if (typeof value === "number") {
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { $: Object.is(value, -0) ? "-0" : String(value) }
  }
  if (value instanceof Uint8Array) return { $hex: Buffer.from(value).toString("hex") }
  if (Array.isArray(value)) return value.map(plain)
  // As a list, so that keys may repeat the language's own.
  if (isRecord(value)) return { $record: Object.entries(value).map(([key, item]) => [key, plain(item)]) }
  return value
}

export const read = (text: string): unknown => rich(JSON.parse(text))

const rich = (value: any): unknown => {
  if (Array.isArray(value)) return value.map(rich)
  if (typeof value !== "object" || value === null) return value
  if ("$hex" in value) return new Uint8Array(Buffer.from(value.$hex, "hex"))
  if ("$record" in value) return Object.fromEntries(value.$record.map(([key, item]: [string, unknown]) => [key, rich(item)]))
  return value.$ === "undefined" ? undefined : Number(value.$)
}
