/**
 * Frames as MessagePack: arrays of plain data, `Uint8Array`s as raw binary. Shared by every transport of this package.
 */
import type { Frame } from "@phalanx/core/MessageQueues"
import { Packr, Unpackr } from "msgpackr"
import { issueOf, issueWith } from "./plainData.ts"

const packing = { useRecords: false, variableMapSize: true }
const packr = new Packr(packing)
const bulk = new Packr(packing)
let scratch = Buffer.allocUnsafeSlow(0)

// A peer's bytes may define msgpackr records, whose readers are compiled by `new Function`. Frames never hold them, and on a frozen table
// such a definition throws.
const records: Array<never> = []
const options = { useRecords: false, mapsAsObjects: true, structures: records, int64AsType: "number" } as const
const copying = new Unpackr({ ...options, copyBuffers: true })
const viewing = new Unpackr({ ...options, copyBuffers: false })
Object.freeze(records)

// Past this size a packed frame takes its buffer along, so that later small frames do not pin or allocate buffers as large as the largest.
const large = 64 * 1024

/** Refuses here what the other end would. */
const check = (frame: Frame): void => {
  const issue = issueWith(frame)
  if (issue !== undefined) throw new TypeError(`not plain data: ${issue}`)
}

/** Bytes that no later call changes. Throws if the frame is not plain data. */
export const pack = (frame: Frame): Uint8Array => {
  check(frame)
  const bytes = packr.pack(frame)
  if (bytes.length >= large) packr.useBuffer(Buffer.allocUnsafeSlow(8192))
  return bytes
}

/** Bytes in byte arrays that lie on the surface of a value: it is itself one, or has some among its fields. */
const bytesIn = (value: unknown): number => {
  if (value instanceof Uint8Array) return value.length
  if (typeof value !== "object" || value === null) return 0
  let sum = 0
  for (const key in value) {
    const field = (value as Record<string, unknown>)[key]
    if (field instanceof Uint8Array) sum += field.length
  }
  return sum
}

/**
 * Packs a frame that holds a lot of bytes into memory that is used again: what it gives is valid until the next call. `undefined` for other frames,
 * for which `pack` is the better way. Memory fresh from the system costs more to touch than the bytes cost to copy.
 */
export const packBulk = (frame: Frame): Uint8Array | undefined => {
  let bytes = 0
  for (const hole of frame) bytes += bytesIn(hole)
  if (bytes < large) return undefined
  if (scratch.length < bytes + large) scratch = Buffer.allocUnsafeSlow(bytes + large)
  check(frame)
  bulk.useBuffer(scratch)
  const packed = bulk.pack(frame)
  // All packers of the library share one buffer: the next small frame must not lie in this one, where it would not stay.
  packr.useBuffer(Buffer.allocUnsafeSlow(8192))
  return packed
}

/** The frame in the first `length` of `bytes`, sharing no memory with them. Throws a `TypeError` on anything else than exactly one array of plain data. */
export const unpack = (bytes: Uint8Array, length: number = bytes.length): Frame => read(copying, bytes, length)

/** The same of bytes that nobody else has or will change: byte arrays in the frame are views of them. */
export const unpackOwn = (bytes: Uint8Array): Frame => read(viewing, bytes, bytes.length)

const read = (unpackr: Unpackr, bytes: Uint8Array, length: number): Frame => {
  const issue = issueOf(bytes, length)
  if (issue !== undefined) throw new TypeError(`not a frame: ${issue}`)
  // From a `Buffer` msgpackr would make `Buffer`s.
  const source = Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes
  return unpackr.unpack(source, length) as Frame
}
