/**
 * Frames as MessagePack: arrays of plain data, `Uint8Array`s as raw binary. Shared by every transport of this package.
 */
import type { Frame } from "@phalanx/core/MessageQueues"
import { decode } from "./decoder.ts"
import { Encoder } from "./encoder.ts"

const encoder = new Encoder()

/** A frame in memory that the next call uses again. Throws a `TypeError` if the frame is not plain data. */
export const encode = (frame: Frame): Encoder => {
  encoder.encode(frame)
  return encoder
}

/** Bytes that no later call changes. Throws a `TypeError` if the frame is not plain data. */
export const pack = (frame: Frame): Uint8Array => encode(frame).take()

/** The frame in the first `length` of `bytes`, sharing no memory with them. Throws a `TypeError` on anything else than exactly one array of plain data. */
export const unpack = (bytes: Uint8Array, length: number = bytes.length): Frame => decode(bytes, length, false)

/** The same of bytes that nobody else has or will change: byte arrays in the frame are views of them. */
export const unpackOwn = (bytes: Uint8Array): Frame => decode(bytes, bytes.length, true)
