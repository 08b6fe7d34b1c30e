/**
 * Frames as MessagePack: arrays of plain data, `Uint8Array`s as raw binary. Shared by every transport of this package.
 */
import type { Frame } from "@phalanx/core/MessageQueues"
import { Packr, Unpackr } from "msgpackr"

const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  writeFunction: () => {
    throw new TypeError("a function is not plain data")
  }
})

// A peer's bytes may define msgpackr records, whose readers are compiled by `new Function`. Frames never hold them, and on a frozen table
// such a definition throws.
const records: Array<never> = []
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, copyBuffers: true, structures: records })
Object.freeze(records)

// Past this size a packed frame takes its buffer along, so that later small frames do not pin or allocate buffers as large as the largest.
const large = 64 * 1024

/** Bytes that no later call changes. Throws if the frame is not plain data. */
export const pack = (frame: Frame): Uint8Array => {
  const bytes = packr.pack(frame)
  if (bytes.length >= large) packr.useBuffer(Buffer.allocUnsafeSlow(8192))
  return bytes
}

/** The frame in the first `length` of `bytes`, sharing no memory with them. Throws on anything else than exactly one array. */
export const unpack = (bytes: Uint8Array, length: number = bytes.length): Frame => {
  // From a `Buffer` msgpackr would make `Buffer`s.
  const source = Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes
  const frame: unknown = unpackr.unpack(source, length)
  if (!Array.isArray(frame)) throw new TypeError("a frame is an array")
  return frame
}
