/** What goes over the ipc channel. It comes from another process, so its shape is checked before it is believed. */
import type { Frame } from "@phalanx/core/MessageQueues"
import { deserialize } from "node:v8"

/** A frame, serialised by `node:v8`, in either direction. */
export interface FrameMessage {
  readonly lane: "frame"
  readonly bytes: Uint8Array
}

/** Bytes from rank to rank; on the way to the driver `line` names the receiver. */
export interface PeerMessage {
  readonly lane: "peer"
  readonly line: string
  readonly from: number
  readonly channel: number
  readonly sequence: number
  readonly bytes: Uint8Array
}

/** To a worker: nothing more will come. */
export interface ClosedMessage {
  readonly lane: "closed"
  readonly issue: string
}

/** To the driver: nothing but the acknowledgement that it was sent. */
export interface FlushMessage {
  readonly lane: "flush"
}

const isCount = (u: unknown): u is number => Number.isInteger(u)

/** `undefined` if it is none. */
export const frameOf = (m: any): Frame | undefined => {
  if (m?.lane !== "frame" || !(m.bytes instanceof Uint8Array)) return undefined
  try {
    const frame: unknown = deserialize(m.bytes)
    return Array.isArray(frame) ? frame : undefined
  } catch {
    return undefined
  }
}

export const isPeer = (m: any): m is PeerMessage =>
  m?.lane === "peer" && typeof m.line === "string" && isCount(m.from) && isCount(m.channel) && isCount(m.sequence) &&
  m.bytes instanceof Uint8Array

export const isClosed = (m: any): m is ClosedMessage => m?.lane === "closed" && typeof m.issue === "string"

export const isFlush = (m: any): m is FlushMessage => m?.lane === "flush"
