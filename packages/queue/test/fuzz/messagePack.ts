/** MessagePack as its specification has it, for plain data: a writer that takes any of the forms that a value may have, and a reader. */
import type { Random } from "../../../../test/harness/random.ts"

const lengths =
  (small: number, least: number, tokens: readonly [one: number | undefined, two: number, four: number]) =>
  (length: number, random: Random): Array<number> => {
    const forms: Array<Array<number>> = []
    if (small > 0 && length < small) forms.push([least + length])
    if (tokens[0] !== undefined && length < 2 ** 8) forms.push([tokens[0], length])
    if (length < 2 ** 16) forms.push([tokens[1], length >> 8, length & 255])
    forms.push([tokens[2], length >>> 24, length >> 16 & 255, length >> 8 & 255, length & 255])
    return random.once(4) ? random.pick(forms) : forms[0]!
  }
const textHead = lengths(32, 0xa0, [0xd9, 0xda, 0xdb])
const bytesHead = lengths(0, 0, [0xc4, 0xc5, 0xc6])
const arrayHead = lengths(16, 0x90, [undefined, 0xdc, 0xdd])
const mapHead = lengths(16, 0x80, [undefined, 0xde, 0xdf])

const view = new DataView(new ArrayBuffer(8))
const seen = (token: number, size: number, set: () => void): Array<number> => {
  set()
  return [token, ...new Uint8Array(view.buffer, 0, size)]
}

const number = (value: number, random: Random): Array<number> => {
  const forms: Array<Array<number>> = []
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    if (value >= -32 && value < 128) forms.push([value & 255])
    if (value >= 0 && value < 2 ** 8) forms.push([0xcc, value])
    if (value >= 0 && value < 2 ** 16) forms.push(seen(0xcd, 2, () => view.setUint16(0, value)))
    if (value >= 0 && value < 2 ** 32) forms.push(seen(0xce, 4, () => view.setUint32(0, value)))
    if (value >= 0) forms.push(seen(0xcf, 8, () => view.setBigUint64(0, BigInt(value))))
    if (value >= -128 && value < 128) forms.push([0xd0, value & 255])
    if (value >= -(2 ** 15) && value < 2 ** 15) forms.push(seen(0xd1, 2, () => view.setInt16(0, value)))
    if (value >= -(2 ** 31) && value < 2 ** 31) forms.push(seen(0xd2, 4, () => view.setInt32(0, value)))
    forms.push(seen(0xd3, 8, () => view.setBigInt64(0, BigInt(value))))
  }
  if (Object.is(Math.fround(value), value)) forms.push(seen(0xca, 4, () => view.setFloat32(0, value)))
  forms.push(seen(0xcb, 8, () => view.setFloat64(0, value)))
  return random.once(4) ? random.pick(forms) : forms[0]!
}

/** Appends the bytes of a value. */
export const encode = (value: unknown, random: Random, bytes: Array<number> = []): Array<number> => {
  if (value === null) bytes.push(0xc0)
  else if (value === undefined) bytes.push(0xd4, 0, 0)
  else if (typeof value === "boolean") bytes.push(value ? 0xc3 : 0xc2)
  else if (typeof value === "number") bytes.push(...number(value, random))
  else if (typeof value === "string") {
    const text = new TextEncoder().encode(value)
    bytes.push(...textHead(text.length, random), ...text)
  } else if (value instanceof Uint8Array) bytes.push(...bytesHead(value.length, random), ...value)
  else if (Array.isArray(value)) {
    bytes.push(...arrayHead(value.length, random))
    for (const item of value) encode(item, random, bytes)
  } else {
    const entries = Object.entries(value as object)
    bytes.push(...mapHead(entries.length, random))
    for (const [key, item] of entries) {
      encode(key, random, bytes)
      encode(item, random, bytes)
    }
  }
  return bytes
}

/** The one array that the bytes are, or `undefined` if they are anything else. */
export const decode = (bytes: Uint8Array, deepest: number): ReadonlyArray<unknown> | undefined => {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const no = new Error()
  let at = 0
  const take = (length: number): number => {
    if (at + length > bytes.length) throw no
    at += length
    return at - length
  }
  const text = (length: number): string => {
    const from = take(length)
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(from, at))
  }
  const array = (length: number, depth: number): unknown => {
    if (depth === deepest || length > bytes.length) throw no
    return Array.from({ length }, () => item(depth + 1))
  }
  const map = (length: number, depth: number): unknown => {
    if (depth === deepest || length > bytes.length) throw no
    const result: Record<string, unknown> = {}
    for (let count = 0; count < length; count++) {
      const key = item(depth + 1)
      if (typeof key !== "string" || key === "__proto__") throw no
      result[key] = item(depth + 1)
    }
    return result
  }
  const exact = (value: bigint): number => {
    if (!Number.isSafeInteger(Number(value))) throw no
    return Number(value)
  }
  const item = (depth: number): unknown => {
    const token = data.getUint8(take(1))
    if (token < 0x80) return token
    if (token < 0x90) return map(token & 15, depth)
    if (token < 0xa0) return array(token & 15, depth)
    if (token < 0xc0) return text(token & 31)
    if (token >= 0xe0) return token - 256
    switch (token) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
      case 0xc5:
      case 0xc6: {
        const length = token === 0xc4 ? data.getUint8(take(1)) : token === 0xc5 ? data.getUint16(take(2)) : data.getUint32(take(4))
        const from = take(length)
        return bytes.slice(from, at)
      }
      case 0xca:
        return data.getFloat32(take(4))
      case 0xcb:
        return data.getFloat64(take(8))
      case 0xcc:
        return data.getUint8(take(1))
      case 0xcd:
        return data.getUint16(take(2))
      case 0xce:
        return data.getUint32(take(4))
      case 0xcf:
        return exact(data.getBigUint64(take(8)))
      case 0xd0:
        return data.getInt8(take(1))
      case 0xd1:
        return data.getInt16(take(2))
      case 0xd2:
        return data.getInt32(take(4))
      case 0xd3:
        return exact(data.getBigInt64(take(8)))
      case 0xd4:
        if (data.getUint16(take(2)) !== 0) throw no
        return undefined
      case 0xd9:
        return text(data.getUint8(take(1)))
      case 0xda:
        return text(data.getUint16(take(2)))
      case 0xdb:
        return text(data.getUint32(take(4)))
      case 0xdc:
        return array(data.getUint16(take(2)), depth)
      case 0xdd:
        return array(data.getUint32(take(4)), depth)
      case 0xde:
        return map(data.getUint16(take(2)), depth)
      case 0xdf:
        return map(data.getUint32(take(4)), depth)
      default:
        throw no
    }
  }
  try {
    const value = item(0)
    return at === bytes.length && Array.isArray(value) ? value : undefined
  } catch (cause) {
    if (cause !== no) throw cause
    return undefined
  }
}
