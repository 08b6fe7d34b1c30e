/**
 * Writes plain data as MessagePack, into memory that is used again. The frames that pass here are small and many, and every one is in some call's way:
 * a general library took most of a hop's time.
 */

import { maxDepth, proto, protoKey, tooDeep } from "./plainData.ts"

/** Memory of this length is kept from frame to frame, longer memory for one only. */
const kept = 2 ** 20
/** Strings up to this length are written character by character, which costs less than a call into Node. */
const short = 128

const refuse = (issue: string): never => {
  throw new TypeError(`not plain data: ${issue}`)
}

export class Encoder {
  /** The encoded frame lies here, from 0 to `length`; valid until the next one is encoded. */
  bytes: Buffer = Buffer.allocUnsafeSlow(8192)
  length = 0
  /** What belongs behind the first `length` bytes, in order: byte arrays that were not copied, and what stands between and after them. */
  more: Array<Uint8Array> = []
  private view = new DataView(this.bytes.buffer)
  private lend = Infinity
  private depth = 0
  private lent: Array<{ readonly at: number; readonly bytes: Uint8Array }> = []

  /** Byte arrays from `lend` bytes on are not copied. Throws a `TypeError` if the frame is not plain data. */
  encode(frame: ReadonlyArray<unknown>, lend = Infinity): void {
    if (this.bytes.length > kept) this.replace(8192)
    this.length = 0
    this.lend = lend
    this.depth = 0
    if (this.more.length > 0) this.more = []
    if (this.lent.length > 0) this.lent = []
    this.array(frame)
    if (this.lent.length > 0) this.divide()
  }

  /** The encoded frame as bytes that belong to the caller; nothing of it was lent. */
  take(): Uint8Array {
    const { bytes, length } = this
    if (length < kept / 16) return new Uint8Array(bytes.subarray(0, length))
    this.replace(8192)
    return bytes.subarray(0, length)
  }

  private divide(): void {
    const { lent, length } = this
    const more: Array<Uint8Array> = []
    lent.forEach(({ at, bytes }, index) => {
      more.push(bytes)
      const next = lent[index + 1]?.at ?? length
      if (next > at) more.push(this.bytes.subarray(at, next))
    })
    this.length = lent[0]!.at
    this.more = more
    this.lent = []
  }

  private replace(length: number): void {
    this.bytes = Buffer.allocUnsafeSlow(length)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Makes room for so many bytes; where they begin. */
  private room(count: number): number {
    const { bytes, length } = this
    if (bytes.length - length < count) {
      this.replace(Math.max(2 * bytes.length, length + count))
      this.bytes.set(bytes.subarray(0, length))
    }
    return length
  }

  private byte(value: number): void {
    const at = this.room(1)
    this.bytes[at] = value
    this.length = at + 1
  }

  private header(first: number, few: number, heads: readonly [byte: number | undefined, short: number, long: number], count: number): void {
    const at = this.room(5)
    const { bytes, view } = this
    if (count < few) {
      bytes[at] = first | count
      this.length = at + 1
    } else if (count < 0x100 && heads[0] !== undefined) {
      bytes[at] = heads[0]
      bytes[at + 1] = count
      this.length = at + 2
    } else if (count < 0x10000) {
      bytes[at] = heads[1]
      view.setUint16(at + 1, count)
      this.length = at + 3
    } else {
      bytes[at] = heads[2]
      view.setUint32(at + 1, count)
      this.length = at + 5
    }
  }

  private array(values: ReadonlyArray<unknown>): void {
    if (this.depth++ === maxDepth) refuse(tooDeep)
    this.header(0x90, 16, arrays, values.length)
    for (let index = 0; index < values.length; index++) this.value(values[index])
    this.depth--
  }

  private value(value: unknown): void {
    switch (typeof value) {
      case "number":
        return this.number(value)
      case "string":
        return this.string(value)
      case "boolean":
        return this.byte(value ? 0xc3 : 0xc2)
      case "undefined":
        return this.undefined()
      case "object":
        if (value === null) return this.byte(0xc0)
        if (Array.isArray(value)) return this.array(value)
        if (value instanceof Uint8Array) return this.binary(value)
        return this.record(value as Record<string, unknown>)
      default:
        return refuse(typeof value)
    }
  }

  private number(value: number): void {
    const at = this.room(9)
    const { bytes, view } = this
    if (value >= 0 && value < 0x80 && (value | 0) === value) {
      bytes[at] = value
      this.length = at + 1
    } else if ((value >>> 0) === value) {
      if (value < 0x100) {
        bytes[at] = 0xcc
        bytes[at + 1] = value
        this.length = at + 2
      } else if (value < 0x10000) {
        bytes[at] = 0xcd
        view.setUint16(at + 1, value)
        this.length = at + 3
      } else {
        bytes[at] = 0xce
        view.setUint32(at + 1, value)
        this.length = at + 5
      }
    } else if ((value | 0) === value) {
      if (value >= -0x20) {
        bytes[at] = value
        this.length = at + 1
      } else if (value >= -0x80) {
        bytes[at] = 0xd0
        bytes[at + 1] = value
        this.length = at + 2
      } else if (value >= -0x8000) {
        bytes[at] = 0xd1
        view.setInt16(at + 1, value)
        this.length = at + 3
      } else {
        bytes[at] = 0xd2
        view.setInt32(at + 1, value)
        this.length = at + 5
      }
    } else {
      bytes[at] = 0xcb
      view.setFloat64(at + 1, value)
      this.length = at + 9
    }
  }

  private string(text: string): void {
    const count = text.length
    if (count <= short) {
      const start = this.room(count + 5) + (count < 32 ? 1 : 2)
      const { bytes } = this
      let index = 0
      for (; index < count; index++) {
        const code = text.charCodeAt(index)
        if (code >= 0x80) break
        bytes[start + index] = code
      }
      if (index === count) {
        this.header(0xa0, 32, strings, count)
        this.length = start + count
        return
      }
    }
    const size = Buffer.byteLength(text)
    this.header(0xa0, 32, strings, size)
    const at = this.room(size)
    this.bytes.write(text, at, size, "utf8")
    this.length = at + size
  }

  private binary(data: Uint8Array): void {
    this.header(0, 0, binaries, data.length)
    if (data.length >= this.lend) {
      this.lent.push({ at: this.length, bytes: data })
      return
    }
    const at = this.room(data.length)
    this.bytes.set(data, at)
    this.length = at + data.length
  }

  private record(record: Record<string, unknown>): void {
    if (this.depth++ === maxDepth) refuse(tooDeep)
    const prototype: unknown = Object.getPrototypeOf(record)
    if (prototype !== Object.prototype && prototype !== null) {
      // Fields are all there is to an instance of a class, but not to a date, a map or an error.
      const kind = Object.prototype.toString.call(record)
      if (kind !== "[object Object]") refuse(kind.slice("[object ".length, -1))
    }
    const keys = Object.keys(record)
    this.header(0x80, 16, maps, keys.length)
    for (const key of keys) {
      if (key === proto) refuse(protoKey)
      this.string(key)
      this.value(record[key])
    }
    this.depth--
  }

  private undefined(): void {
    const at = this.room(3)
    this.bytes[at] = 0xd4
    this.bytes[at + 1] = 0
    this.bytes[at + 2] = 0
    this.length = at + 3
  }
}

const arrays = [undefined, 0xdc, 0xdd] as const
const maps = [undefined, 0xde, 0xdf] as const
const strings = [0xd9, 0xda, 0xdb] as const
const binaries = [0xc4, 0xc5, 0xc6] as const
