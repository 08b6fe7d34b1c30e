/**
 * The writing end of a group's request ring. A rank that keeps the ring full for 50 ms is lapped: its consumed word is marked, the pieces it has
 * not read are copied out of the ring, where they still are, and reach it by its private lane, as does everything later until it has
 * emptied that lane. Then it reads the ring again.
 *
 * The order holds without any marker in the lane. While the word is marked the reader has the lane alone; the mark is taken away, and the word set to
 * where the writer stands, only when the reader has emptied the lane, so that whoever finds it unmarked has got all that is older than
 * what the ring holds from there on. And whatever the writer does meanwhile, it does first to the word: a compare-exchange by which the reader
 * would take a piece that is also in the lane fails.
 */
import type { Word } from "./memory.ts"
import type { Piece, Ring } from "./ring.ts"
import { type Reading, type Rest, Writer } from "./writer.ts"

export interface Rank {
  readonly rank: number
  readonly reading: Reading
  /** The private lane. */
  readonly lane: Writer
  lapped: boolean
}

const has = (tags: Int32Array, rank: number): boolean => (tags[rank >>> 5]! & (1 << (rank & 31))) !== 0

const without = (tags: Int32Array, rank: number): void => {
  tags[rank >>> 5]! &= ~(1 << (rank & 31))
}

export class Requests {
  readonly writer: Writer
  readonly ranks = new Map<number, Rank>()
  /** Since when the ring lacks room, in the caller's milliseconds; 0 while it does not. */
  private fullSince = 0
  private readonly tags: Int32Array
  private readonly patience: number
  private readonly confused: (rank: number) => void
  private readonly piece: Piece = { length: 0, total: 0, offset: 0 }
  private lapped = 0
  /** How often a rank has been lapped. */
  laps = 0

  /** `confused` hears of a rank that has written in its consumed word, or in the ring, what no reader writes; it is to be disconnected. */
  constructor(ring: Ring, patience: number, confused: (rank: number) => void = () => {}) {
    this.writer = new Writer(ring)
    this.tags = new Int32Array(ring.geometry.tags)
    this.patience = patience
    this.confused = confused
  }

  connect(rank: number, consumed: Word, lane: Writer): void {
    this.ranks.set(rank, { rank, reading: this.writer.admit(rank, consumed), lane, lapped: false })
  }

  /** Drops what waits for the rank and asks it for nothing any more. */
  disconnect(rank: number): void {
    const entry = this.ranks.get(rank)
    if (entry === undefined) return
    this.ranks.delete(rank)
    if (entry.lapped) this.lapped--
    // A reader that runs on must not take for its own what lies there later.
    this.writer.dismiss(entry.reading)
    this.withdraw(rank, () => {})
  }

  /** Takes a rank off the frames that wait, and hands over what it has not got of each. */
  private withdraw(rank: number, each: (rest: Rest) => void): void {
    let emptied = false
    for (const rest of this.writer.waiting) {
      if (!has(rest.tags, rank)) continue
      each(rest)
      without(rest.tags, rank)
      emptied ||= rest.tags.every((word) => word === 0)
    }
    if (emptied) this.writer.retain((rest) => rest.tags.some((word) => word !== 0))
  }

  /** Whether a frame of so many bytes, in so many parts, would be in the ring, and nowhere else, when `put` returns. */
  takes(bytes: number, parts: number): boolean {
    const { ring } = this.writer
    const pieces = Math.ceil(bytes / ring.pieceLimit) + parts
    return this.lapped === 0 && this.writer.waiting.length === 0 && this.writer.fits(ring.size(bytes) + pieces * ring.size(8))
  }

  /** Appends a frame for the ranks, which `takes` has said that there is room for: the first bytes of `data`, and `more` after them. */
  put(data: Uint8Array, length: number, more: ReadonlyArray<Uint8Array>, ranks: ReadonlyArray<number>): void {
    if (!this.name(ranks, undefined)) return
    const { tags, writer } = this
    if (more.length === 0 && length <= writer.ring.pieceLimit) return writer.put(data, length, tags)
    const total = more.reduce((sum, part) => sum + part.length, length)
    let base = length
    writer.append(data.subarray(0, length), 0, total, tags)
    for (const part of more) {
      writer.append(part, base, total, tags)
      base += part.length
    }
  }

  /** Appends a frame for the ranks; those that are not connected are left out. */
  publish(data: Uint8Array, ranks: ReadonlyArray<number>, now: () => number): void {
    if (this.name(ranks, data) && this.writer.publish(data, this.tags) !== undefined && this.fullSince === 0) this.fullSince = now()
  }

  /** Tags a frame with the ranks that read the ring, and sends it to those that do not; whether there are any of the former. */
  private name(ranks: ReadonlyArray<number>, data: Uint8Array | undefined): boolean {
    const { tags } = this
    tags.fill(0)
    let some = false
    for (let index = 0; index < ranks.length; index++) {
      const rank = ranks[index]!
      const entry = this.ranks.get(rank)
      if (entry === undefined) continue
      if (entry.lapped) {
        entry.lane.publish(data!)
        this.askDrained(entry)
      } else {
        tags[rank >>> 5]! |= 1 << (rank & 31)
        some = true
      }
    }
    return some
  }

  /** Moves on what waits; to be called when readers have advanced, and when `due` says so. */
  flush(now: number): void {
    if (this.lapped > 0) this.readmit()
    if (!this.writer.flush() && now - this.fullSince >= this.patience) this.lapBlockers()
    if (this.writer.waiting.length === 0) this.fullSince = 0
  }

  /** In how many milliseconds `flush` must be called at the latest; `undefined` while nothing waits for the ring. */
  due(now: number): number | undefined {
    if (this.writer.waiting.length === 0) return undefined
    return Math.max(this.fullSince + this.patience - now, this.patience / 10)
  }

  ready(): boolean {
    if (this.writer.ready()) return true
    if (this.lapped === 0) return false
    for (const rank of this.ranks.values()) if (rank.lapped && (rank.lane.ready() || rank.lane.drained())) return true
    return false
  }

  /** Has the rank ring when it has emptied its private lane. */
  private askDrained(rank: Rank): void {
    rank.lane.ring.memory.store(rank.lane.ring.geometry.wantsRoom, 1)
  }

  private readmit(): void {
    for (const rank of this.ranks.values()) {
      if (!rank.lapped) continue
      rank.lane.flush()
      if (!rank.lane.drained()) {
        this.askDrained(rank)
        continue
      }
      const { consumed } = rank.reading
      rank.lapped = false
      this.lapped--
      rank.reading.named = this.writer.position
      consumed.memory.store(consumed.index, this.writer.position)
      this.writer.readers.push(rank.reading)
      rank.lane.ring.memory.store(rank.lane.ring.geometry.wantsRoom, 0)
    }
  }

  /** Laps whoever keeps the next piece out, unless everybody does: then nobody is delayed by another. */
  private lapBlockers(): void {
    const { writer } = this
    for (const rank of this.ranks.values()) if (!rank.lapped && writer.isLost(rank.reading)) this.confused(rank.rank)
    while (writer.waiting.length > 0) {
      const room = writer.ring.units - writer.wants()
      const blockers = [...this.ranks.values()].filter((rank) => !rank.lapped && writer.lag(rank.reading) > room)
      if (blockers.length === 0 || blockers.length === writer.readers.length) return
      for (const rank of blockers) this.lap(rank)
      if (writer.flush()) return
    }
  }

  private lap(rank: Rank): void {
    const { ring } = this.writer
    let from = this.writer.dismiss(rank.reading)
    rank.lapped = true
    this.laps++
    this.lapped++
    while (from !== this.writer.position) {
      if (!ring.isSound(from, this.writer.position, this.piece)) return this.confused(rank.rank)
      const { length, offset, total } = this.piece
      if ((ring.tag(from, rank.rank >>> 5) & (1 << (rank.rank & 31))) !== 0) {
        const piece = new Uint8Array(length)
        ring.read(from, length, piece, 0)
        rank.lane.append(piece, offset, total)
      }
      from = (from + ring.size(length)) | 0
    }
    this.withdraw(rank.rank, (rest) => rank.lane.append(rest.data.subarray(rest.sent), rest.base + rest.sent, rest.total))
    this.askDrained(rank)
  }
}
