/**
 * The writing end of a ring: publishing never waits. What the ring lacks room for is kept here in order and flows on as readers advance;
 * how much that may become is bounded by whoever admits the frames.
 */
import type { Word } from "./memory.ts"
import { distance, LAPPED, type Ring } from "./ring.ts"

/** The rest of a frame, waiting for room. */
export interface Rest {
  /** Bytes of the frame from `base` on. */
  readonly data: Uint8Array
  readonly base: number
  readonly total: number
  readonly tags: Int32Array
  /** How many bytes of `data` are in the ring. */
  sent: number
  /** Whether at least one piece is: a frame of no bytes is one piece, too. */
  begun: boolean
}

/** One reader of the quorum. */
export interface Reading {
  readonly rank: number
  readonly consumed: Word
  /** Where the last piece that names this reader ends. */
  named: number
}

/** Whether all of it is in the ring. */
export const isWritten = (rest: Rest): boolean => rest.begun && rest.sent === rest.data.length

const none = new Int32Array(0)

export class Writer {
  readonly ring: Ring
  /** Where the next piece goes. */
  position: number
  readonly readers: Array<Reading> = []
  /** Frames, and at the head what is left of one, that wait for room. */
  waiting: Array<Rest> = []
  /** Up to which position the ring was known to be free. */
  private limit: number

  constructor(ring: Ring, consumed?: Word) {
    this.ring = ring
    this.position = ring.written()
    this.limit = this.position
    if (consumed !== undefined) this.readers.push({ rank: -1, consumed, named: this.position })
  }

  /** The reader takes what is published from now on. */
  admit(rank: number, consumed: Word): Reading {
    consumed.memory.store(consumed.index, this.position)
    const reading = { rank, consumed, named: this.position }
    this.readers.push(reading)
    return reading
  }

  /** The reader takes nothing more from the ring: its word is marked, so that what it copies just now is void. Answers where it stood. */
  dismiss(reading: Reading): number {
    const place = this.readers.indexOf(reading)
    if (place >= 0) this.readers.splice(place, 1)
    const { index, memory } = reading.consumed
    for (let from = memory.load(index);;) {
      const found = memory.compareExchange(index, from, from | LAPPED)
      if (found === from) return from
      from = found
    }
  }

  private names(tags: ArrayLike<number>, rank: number): boolean {
    return rank < 0 || (tags[rank >>> 5]! & (1 << (rank & 31))) !== 0
  }

  /** How far a reader is behind, in units. One that has nothing to read is moved on without being asked. */
  lag(reading: Reading): number {
    const { memory, index } = reading.consumed
    const consumed = memory.load(index) & ~LAPPED
    if (((reading.named - consumed) | 0) > 0) return distance(consumed, this.position)
    const moved = memory.compareExchange(index, consumed, this.position) === consumed
    reading.named = moved ? this.position : consumed
    return moved ? 0 : distance(memory.load(index) & ~LAPPED, this.position)
  }

  /** Whether the reader's consumed word is where no reader stands. */
  isLost(reading: Reading): boolean {
    return this.lag(reading) > this.ring.units
  }

  /** Whether a piece of so many units fits. */
  fits(units: number): boolean {
    if (distance(this.position, this.limit) >= units) return true
    let lag = 0
    for (const reading of this.readers) lag = Math.max(lag, this.lag(reading))
    // A reader whose word says what cannot be leaves no room.
    const room = Math.max(0, this.ring.units - lag)
    this.limit = (this.position + room) | 0
    return room >= units
  }

  /** Bytes of the next piece of a rest of so many bytes. */
  private next(rest: number): number {
    return rest <= this.ring.pieceLimit ? rest : this.ring.pieceLimit
  }

  private write(data: Uint8Array, from: number, length: number, total: number, offset: number, tags: Int32Array): void {
    this.position = this.ring.write(this.position, data, from, length, total, offset, tags)
    for (const reading of this.readers) if (this.names(tags, reading.rank)) reading.named = this.position
    this.ring.publish(this.position)
  }

  /** Whether a frame of so many bytes would be in the ring, as one piece, when `publish` returns. */
  takes(bytes: number): boolean {
    return this.waiting.length === 0 && bytes <= this.ring.pieceLimit && this.fits(this.ring.size(bytes))
  }

  /** Appends a frame. `data` must stay as it is while the frame waits; `tags` are copied. What has to wait for room, if anything. */
  publish(data: Uint8Array, tags: Int32Array = none): Rest | undefined {
    return this.append(data, 0, data.length, tags)
  }

  /** Appends the first bytes of `data` as a frame, which `takes` has said that there is room for. */
  put(data: Uint8Array, length: number, tags: Int32Array = none): void {
    this.write(data, 0, length, length, 0, tags)
  }

  /** Appends the part of a frame that begins at `base`. */
  append(data: Uint8Array, base: number, total: number, tags: Int32Array = none): Rest | undefined {
    if (this.takes(data.length)) {
      this.write(data, 0, data.length, total, base, tags)
      return undefined
    }
    const rest: Rest = { data, base, total, tags: tags.length === 0 ? none : tags.slice(), sent: 0, begun: false }
    this.waiting.push(rest)
    this.ring.memory.store(this.ring.geometry.wantsRoom, 1)
    // Room that was made before the word was set is not going to be announced.
    this.flush()
    return isWritten(rest) ? undefined : rest
  }

  /** Units that the next waiting piece takes; 0 if nothing waits. */
  wants(): number {
    const rest = this.waiting[0]
    return rest === undefined ? 0 : this.ring.size(this.next(rest.data.length - rest.sent))
  }

  /** Moves what fits into the ring; whether nothing waits any more. */
  flush(): boolean {
    if (this.waiting.length === 0) return true
    let done = 0
    for (; done < this.waiting.length; done++) {
      const rest = this.waiting[done]!
      while (!isWritten(rest)) {
        const length = this.next(rest.data.length - rest.sent)
        if (!this.fits(this.ring.size(length))) {
          if (done > 0) this.waiting = this.waiting.slice(done)
          return false
        }
        this.write(rest.data, rest.sent, length, rest.total, rest.base + rest.sent, rest.tags)
        rest.sent += length
        rest.begun = true
      }
    }
    this.retain(() => false)
    return true
  }

  /** Drops waiting frames. */
  retain(keep: (rest: Rest) => boolean): void {
    this.waiting = this.waiting.filter(keep)
    if (this.waiting.length === 0) this.ring.memory.store(this.ring.geometry.wantsRoom, 0)
  }

  /** Whether `flush` would do something. */
  ready(): boolean {
    return this.waiting.length > 0 && this.fits(this.wants())
  }

  /** Whether the only reader has taken everything. */
  drained(): boolean {
    return this.waiting.length === 0 && this.readers.every((reading) => this.lag(reading) === 0)
  }
}
