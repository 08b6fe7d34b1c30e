/** Reads MessagePack as plain data. What it reads comes from another process: nothing is believed, and nothing of it is ever run. */
import { maxDepth, proto, protoKey, tooDeep } from "./plainData.ts"

/** Strings up to this length are likely to come again: names of methods and of fields. */
const short = 24
const known: Array<string> = Array.from({ length: 512 }, () => "")

const number = new DataView(new ArrayBuffer(8))

let bytes: Uint8Array = new Uint8Array(0)
let position = 0
let end = 0
let owns = false
let depth = 0
/** The same memory as `buffered`, which is made once for the many strings that lie in it. */
let buffer: Buffer = Buffer.alloc(0)
let buffered = bytes

const refuse = (issue: string): never => {
  throw new TypeError(`not a frame: ${issue}`)
}

const need = (count: number): void => {
  if (end - position < count) refuse("the bytes end in the middle of it")
}

const unsigned = (size: number): number => {
  need(size)
  let value = 0
  for (let index = 0; index < size; index++) value = value * 0x100 + bytes[position++]!
  return value
}

/** The next bytes as those of a number, which its type then reads. */
const numeric = (size: number): DataView => {
  need(size)
  for (let index = 0; index < size; index++) number.setUint8(index, bytes[position++]!)
  return number
}

const long = (length: number): string => {
  if (buffered !== bytes) {
    buffered = bytes
    buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }
  return buffer.toString("utf8", position, position + length)
}

const isAt = (text: string): boolean => {
  for (let index = 0; index < text.length; index++) if (bytes[position + index] !== text.charCodeAt(index)) return false
  return true
}

const text = (length: number): string => {
  need(length)
  let result: string
  let hash = length
  let bits = 0
  const scanned = length <= short ? length : 0
  for (let index = 0; index < scanned; index++) {
    const byte = bytes[position + index]!
    bits |= byte
    hash = (hash * 31 + byte) | 0
  }
  if (length > short || bits >= 0x80) {
    result = long(length)
  } else {
    result = known[hash & 511]!
    if (result.length !== length || !isAt(result)) result = known[hash & 511] = long(length)
  }
  position += length
  return result
}

const binary = (length: number): Uint8Array => {
  need(length)
  const start = position
  position += length
  return owns ? new Uint8Array(bytes.buffer, bytes.byteOffset + start, length) : copy(start, length)
}

const copy = (start: number, length: number): Uint8Array => {
  const result = new Uint8Array(length)
  if (length > 64) result.set(bytes.subarray(start, start + length))
  else for (let index = 0; index < length; index++) result[index] = bytes[start + index]!
  return result
}

const array = (length: number): Array<unknown> => {
  // Each item takes a byte at least.
  need(length)
  if (depth++ === maxDepth) refuse(tooDeep)
  const result: Array<unknown> = []
  for (let index = 0; index < length; index++) result.push(value())
  depth--
  return result
}

const key = (): string => {
  const head = unsigned(1)
  const name = head >= 0xa0 && head < 0xc0
    ? text(head & 0x1f)
    : head >= 0xd9 && head <= 0xdb
    ? text(unsigned(2 ** (head - 0xd9)))
    : refuse("a key that is no string")
  return name === proto ? refuse(protoKey) : name
}

const map = (length: number): Record<string, unknown> => {
  need(2 * length)
  if (depth++ === maxDepth) refuse(tooDeep)
  const result: Record<string, unknown> = {}
  for (let index = 0; index < length; index++) result[key()] = value()
  depth--
  return result
}

const exact = (integer: number): number => Number.isSafeInteger(integer) ? integer : refuse("an integer that no number holds")

const value = (): unknown => {
  need(1)
  const head = bytes[position++]!
  if (head < 0x80) return head
  if (head < 0x90) return map(head & 0x0f)
  if (head < 0xa0) return array(head & 0x0f)
  if (head < 0xc0) return text(head & 0x1f)
  if (head >= 0xe0) return head - 0x100
  switch (head) {
    case 0xc0:
      return null
    case 0xc2:
      return false
    case 0xc3:
      return true
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return binary(unsigned(2 ** (head - 0xc4)))
    case 0xca:
      return numeric(4).getFloat32(0)
    case 0xcb:
      return numeric(8).getFloat64(0)
    case 0xcc:
    case 0xcd:
    case 0xce:
      return unsigned(2 ** (head - 0xcc))
    case 0xcf:
      return exact(unsigned(8))
    case 0xd0:
      return numeric(1).getInt8(0)
    case 0xd1:
      return numeric(2).getInt16(0)
    case 0xd2:
      return numeric(4).getInt32(0)
    case 0xd3:
      return exact(Number(numeric(8).getBigInt64(0)))
    case 0xd4:
      return unsigned(1) === 0 && unsigned(1) === 0 ? undefined : refuse("an extension")
    case 0xd9:
    case 0xda:
    case 0xdb:
      return text(unsigned(2 ** (head - 0xd9)))
    case 0xdc:
    case 0xdd:
      return array(unsigned(2 ** (head - 0xdb)))
    case 0xde:
    case 0xdf:
      return map(unsigned(2 ** (head - 0xdd)))
    default:
      return refuse(head === 0xc1 ? "a byte that MessagePack never uses" : "an extension")
  }
}

/** The one array in the first `length` bytes. With `own` its byte arrays are views of them, else copies. Throws a `TypeError`. */
export const decode = (source: Uint8Array, length: number, own: boolean): ReadonlyArray<unknown> => {
  const head = length === 0 ? 0 : source[0]!
  if (!((head >= 0x90 && head < 0xa0) || head === 0xdc || head === 0xdd)) return refuse("no array")
  bytes = source
  position = 0
  end = length
  owns = own
  depth = 0
  const result = value() as ReadonlyArray<unknown>
  return position === end ? result : refuse(`${end - position} bytes after its end`)
}
