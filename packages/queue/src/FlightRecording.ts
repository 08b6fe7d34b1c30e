/**
 * A worker's flight recorder in memory that it shares with whoever started it: a file without a name, so that nothing of it can be left behind. The worker writes its last 256
 * entries there; the starter reads them when the worker is gone. Linux only; elsewhere nothing is recorded.
 */
import { type FlightEvent, kinds, type Record } from "@phalanx/core/FlightRecorder"
import * as Fs from "node:fs"
import { defaultFolder } from "./internal/files.ts"
import { mapFile } from "./internal/segment.ts"

/*
 * An entry takes 64 bytes: the number of the entry (0 while it is being written), its kind, the call, the length of the text, the time as a double, and up to 40 bytes
 * of text. Entry n lies at n modulo 256.
 */
const entries = 256
const entryBytes = 64
const textAt = 24
const textBytes = entryBytes - textAt
const bytes = entries * entryBytes

/** Linux's flag for a file without a name; Node does not name it. */
const O_TMPFILE = 0o20200000

/** For the starter: a descriptor to hand to the worker, and to read when it is gone. `undefined` where there is none to be had; recording is not worth a failed start. */
export const create = (folder: string = defaultFolder): number | undefined => {
  if (process.platform !== "linux") return undefined
  let fd: number | undefined
  try {
    fd = Fs.openSync(folder, O_TMPFILE | Fs.constants.O_RDWR, 0o600)
    // Written, not only sized: a page that the folder has no room for must not be found out by a signal.
    Fs.writeSync(fd, new Uint8Array(bytes))
    return fd
  } catch {
    if (fd !== undefined) Fs.closeSync(fd)
    return undefined
  }
}

/** For the worker: writes to the descriptor's memory. */
export const open = (fd: number): Record => {
  const buffer = mapFile(fd, bytes, "flight recorder")
  const words = new Uint32Array(buffer)
  const doubles = new Float64Array(buffer)
  const text = new Uint8Array(buffer)
  const kindNumbers = new Map(kinds.map((kind, index) => [kind, index]))
  const { timeOrigin } = performance
  let count = 0
  return (kind, id, name) => {
    const at = (count % entries) * entryBytes
    const word = at / 4
    words[word] = 0
    words[word + 1] = kindNumbers.get(kind)!
    words[word + 2] = id
    doubles[at / 8 + 2] = timeOrigin + performance.now()
    const length = Math.min(name.length, textBytes)
    for (let i = 0; i < length; i++) text[at + textAt + i] = name.charCodeAt(i) & 0x7f
    words[word + 3] = length
    words[word] = ++count
  }
}

/** For a starter elsewhere: how many bytes a recorder's file has. */
export const size: number = bytes

/** The entries that were complete, the oldest first, `most` at most. Bytes that are none of a recorder's are left out. */
export const decode = (data: Uint8Array, most: number): ReadonlyArray<FlightEvent> => {
  if (data.length !== bytes) return []
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  const found: Array<readonly [number, FlightEvent]> = []
  for (let entry = 0; entry < entries; entry++) {
    const at = entry * entryBytes
    const number = view.getUint32(at, true)
    const kind = kinds[view.getUint32(at + 4, true)]
    const length = view.getUint32(at + 12, true)
    const time = view.getFloat64(at + 16, true)
    if (number === 0 || (number - 1) % entries !== entry || kind === undefined || length > textBytes || !Number.isFinite(time)) continue
    const text = new TextDecoder("latin1").decode(data.subarray(at + textAt, at + textAt + length))
    found.push([number, { at: time, kind, id: view.getUint32(at + 8, true), text }])
  }
  return found.sort(([a], [b]) => a - b).slice(-most).map(([, event]) => event)
}

/** For the starter: what a recorder holds, as `decode` has it. */
export const read = (fd: number, most: number): ReadonlyArray<FlightEvent> => {
  const data = new Uint8Array(bytes)
  return decode(data.subarray(0, Fs.readSync(fd, data, 0, bytes, 0)), most)
}
