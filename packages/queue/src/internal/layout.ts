/**
 * Where everything lies in the segments. `WIRE.md` has the same in words. Every word that one process writes while others read it
 * has a line of 64 bytes to itself.
 */
import type { Memory, Word } from "./memory.ts"
import { type Geometry, Ring } from "./ring.ts"

const magic = 0x58484c50
const version = 1

const line = 64
const wordOf = (lineNumber: number): number => (lineNumber * line) / 4

const align = (bytes: number): number => Math.ceil(bytes / line) * line

/** A ring with one reader: three words, then its data. */
const laneWords = (first: number, data: number, capacity: number, tags: number): Geometry & { readonly consumed: number } => ({
  written: wordOf(first),
  wantsRoom: wordOf(first + 1),
  consumed: wordOf(first + 2),
  data,
  capacity,
  tags
})

export interface Lane {
  readonly ring: Ring
  readonly consumed: Word
}

const lane = (memory: Memory, geometry: Geometry & { readonly consumed: number }): Lane => ({
  ring: new Ring(memory, geometry),
  consumed: { memory, index: geometry.consumed }
})

/** Words of tags that name so many ranks. */
const rankTags = (ranks: number): number => Math.max(2, Math.ceil(ranks / 64) * 2)

/** The segment of a group: the request ring. */
export const group = {
  header: 0,
  driverParked: wordOf(1),
  /** How many processes use the group's queues, the driver included. */
  processes: wordOf(2),
  bytes: (ringBytes: number): number => 8 * line + ringBytes,
  ring: (memory: Memory, ringBytes: number, ranks: number): Ring =>
    new Ring(memory, { written: wordOf(3), wantsRoom: wordOf(4), data: 8 * line, capacity: ringBytes, tags: rankTags(ranks) })
}

/** What the state word of a rank's segment says. */
export const State = { open: 0, attached: 1, closed: 2, replaced: 3, left: 4 } as const

export interface LaneSizes {
  readonly control: number
  readonly private: number
  readonly reply: number
}

const setName = (memory: Memory, word: number, name: string): void => {
  const bytes = new TextEncoder().encode(name)
  if (bytes.length >= 2 * line) throw new RangeError(`a doorbell's name has at most ${2 * line - 1} bytes: ${name}`)
  memory.write(word * 4, bytes.length, bytes, 0)
}
const getName = (memory: Memory, word: number): string => {
  const bytes = new Uint8Array(2 * line)
  memory.read(word * 4, bytes.length, bytes, 0)
  return new TextDecoder().decode(bytes.subarray(0, Math.max(0, bytes.indexOf(0))))
}

const bellLine = 13
const rankData = 16 * line

/** The segment of one incarnation of a rank: its lanes and its place in the request ring. */
export const rank = {
  header: 0,
  state: wordOf(1),
  pid: wordOf(1) + 1,
  parked: wordOf(2),
  consumed: wordOf(3),
  bytes: (sizes: LaneSizes): number => rankData + sizes.control + sizes.private + sizes.reply,
  control: (memory: Memory, sizes: LaneSizes): Lane => lane(memory, laneWords(4, rankData, sizes.control, 0)),
  private: (memory: Memory, sizes: LaneSizes): Lane => lane(memory, laneWords(7, rankData + sizes.control, sizes.private, 0)),
  reply: (memory: Memory, sizes: LaneSizes): Lane => lane(memory, laneWords(10, rankData + sizes.control + sizes.private, sizes.reply, 0)),
  /** The name of the worker's doorbell: ASCII, ended by a zero byte, at most 127. */
  setBell: (memory: Memory, name: string): void => setName(memory, wordOf(bellLine), name),
  bell: (memory: Memory): string => getName(memory, wordOf(bellLine))
}

/** The segment of one rank's lanes to every other rank. Tags: channel, sequence. */
export const peers = {
  header: 0,
  parked: wordOf(1),
  bytes: (ranks: number, laneBytes: number): number => align(2 * line + ranks * 3 * line) + ranks * laneBytes,
  lane: (memory: Memory, ranks: number, laneBytes: number, to: number): Lane =>
    lane(memory, laneWords(2 + to * 3, align(2 * line + ranks * 3 * line) + to * laneBytes, laneBytes, 2))
}

const readerLines = 5
const readerWord = (reader: number, lineOfReader: number): number => wordOf(8 + reader * readerLines + lineOfReader)
const queueData = (readers: number): number => (8 + readers * readerLines) * line

/** The segment of a queue that stands alone. Tags: 0 for bytes and 1 for a value, 0. */
export const queue = {
  header: 0,
  writerParked: wordOf(1),
  /** 0 until all readers have attached, then 1; 2 once the writer has closed the queue. */
  phase: wordOf(2),
  bytes: (readers: number, capacity: number): number => queueData(readers) + capacity,
  geometry: (readers: number, capacity: number): Geometry => ({
    written: wordOf(3),
    wantsRoom: wordOf(4),
    data: queueData(readers),
    capacity,
    tags: 2
  }),
  ring: (memory: Memory, readers: number, capacity: number): Ring => new Ring(memory, queue.geometry(readers, capacity)),
  /** One of `State`. */
  state: (reader: number): number => readerWord(reader, 0),
  parked: (reader: number): number => readerWord(reader, 1),
  consumed: (reader: number): number => readerWord(reader, 2),
  pid: (reader: number): number => readerWord(reader, 0) + 1,
  bellName: (reader: number): number => readerWord(reader, 3),
  setBell: (memory: Memory, reader: number, name: string): void => setName(memory, queue.bellName(reader), name),
  bell: (memory: Memory, reader: number): string => getName(memory, queue.bellName(reader))
}

/** Marks a segment as ours. */
export const sign = (memory: Memory, numbers: ReadonlyArray<number>): void => {
  memory.set(0, magic)
  memory.set(1, version)
  numbers.forEach((number, index) => memory.set(2 + index, number))
}

/** Whether a segment is one of ours with these numbers in its header. */
export const isSigned = (memory: Memory, numbers: ReadonlyArray<number>): boolean =>
  memory.get(0) === magic && memory.get(1) === version && numbers.every((number, index) => memory.get(2 + index) === number)
