/**
 * A byte ring in shared memory: one writer, one or many readers, frames of any length.
 *
 * Positions count units of four bytes, modulo 2³², and are always even: the lowest bit of a reader's consumed word is free to say that the
 * writer has *lapped* this reader. A frame travels as one or more pieces, each with a header of its own:
 *
 *     length   bytes of this piece
 *     total    bytes of the whole frame
 *     offset   where in the frame this piece begins
 *     check    length ^ total ^ offset ^ `seal`: bytes that no writer of ours put there are noticed at once
 *     tags     an even number of words: the ranks that the frame names, or what a peer says of its message
 *
 * - RG-1: bytes at or after a reader's consumed word are not overwritten while that word is unchanged.
 * - RG-2: a reader has a piece if and only if it moves its consumed word over it by a compare-exchange that succeeds; what it copied before
 *   a failed one is void, because the writer may have overwritten it meanwhile.
 * - RG-3: the writer moves a reader's consumed word only by a compare-exchange, unless it has marked it, and only past pieces that it passes on
 *   by another way, or that do not name this reader.
 */
import type { Memory, Word } from "./memory.ts"

/** The lowest bit of a consumed word: what follows comes by the reader's private lane. */
export const LAPPED = 1

/** A header's check has it, so that zeros are none. */
export const seal = 0x50484c58
/** Words of a header before its tags. */
export const headerWords = 4

export interface Geometry {
  /** Index of the word that holds the writer's position. */
  readonly written: number
  /** Index of the word that is 1 while the writer has frames for which the ring lacked room. */
  readonly wantsRoom: number
  /** Byte offset of the data, a multiple of 8. */
  readonly data: number
  /** Bytes of data, a power of two. */
  readonly capacity: number
  /** Words of tags in each header, even. */
  readonly tags: number
}

/** What a header says. */
export interface Piece {
  length: number
  total: number
  offset: number
}

/** Units between two positions. */
export const distance = (from: number, to: number): number => (to - from) >>> 0

export class Ring {
  readonly memory: Memory
  readonly geometry: Geometry
  /** The ring's length in units. */
  readonly units: number
  /** The most bytes that one piece may hold, so that a long frame flows through while its reader empties the ring. */
  readonly pieceLimit: number
  private readonly mask: number
  private readonly first: number

  constructor(memory: Memory, geometry: Geometry) {
    this.memory = memory
    this.geometry = geometry
    this.units = geometry.capacity / 4
    this.pieceLimit = geometry.capacity / 4
    this.mask = this.units - 1
    this.first = geometry.data / 4
  }

  /** Units that a piece of so many bytes takes, its header included. */
  size(length: number): number {
    return headerWords + this.geometry.tags + ((length + 7) >>> 3) * 2
  }

  written(): number {
    return this.memory.load(this.geometry.written)
  }

  /** A word of the header of the piece at `position`. */
  header(position: number, word: number): number {
    return this.memory.get(this.first + ((position + word) & this.mask))
  }

  tag(position: number, index: number): number {
    return this.header(position, headerWords + index)
  }

  /**
   * Whether the header at `position` is one that a writer made, of a piece that ends by `written`. Its numbers are in `piece` then: they are read
   * once, since whoever wrote them may write there again.
   */
  isSound(position: number, written: number, piece: Piece): boolean {
    piece.length = this.header(position, 0) >>> 0
    piece.total = this.header(position, 1) >>> 0
    piece.offset = this.header(position, 2) >>> 0
    return this.header(position, 3) === (piece.length ^ piece.total ^ piece.offset ^ seal)
      && piece.length <= this.pieceLimit
      && piece.offset + piece.length <= piece.total
      && this.size(piece.length) <= distance(position, written)
  }

  /** Copies a piece's bytes. */
  read(position: number, length: number, target: Uint8Array, at: number): void {
    const start = ((position + headerWords + this.geometry.tags) & this.mask) * 4
    const straight = Math.min(length, this.geometry.capacity - start)
    this.memory.read(this.geometry.data + start, straight, target, at)
    if (straight < length) this.memory.read(this.geometry.data, length - straight, target, at + straight)
  }

  /** Writes a piece at `position` without publishing it; answers the position after it. The caller has made sure of the room. */
  write(
    position: number,
    source: Uint8Array,
    from: number,
    length: number,
    total: number,
    offset: number,
    tags: ArrayLike<number>
  ): number {
    const { memory, first, mask } = this
    memory.set(first + (position & mask), length)
    memory.set(first + ((position + 1) & mask), total)
    memory.set(first + ((position + 2) & mask), offset)
    memory.set(first + ((position + 3) & mask), length ^ total ^ offset ^ seal)
    const count = this.geometry.tags
    for (let index = 0; index < count; index++) {
      memory.set(first + ((position + headerWords + index) & mask), tags[index] ?? 0)
    }
    const start = ((position + headerWords + count) & mask) * 4
    const straight = Math.min(length, this.geometry.capacity - start)
    if (straight > 0) memory.write(this.geometry.data + start, straight, source, from)
    if (straight < length) memory.write(this.geometry.data, length - straight, source, from + straight)
    return (position + this.size(length)) | 0
  }

  publish(position: number): void {
    this.memory.store(this.geometry.written, position)
  }
}

/** What a look into a ring came to. */
export type Taken =
  /** Nothing for this reader. */
  | "empty"
  /** Pieces were taken or skipped, but no frame is complete. */
  | "part"
  /** A whole frame: it lies in the assembly. */
  | "frame"
  /** The writer moved this reader's consumed word. */
  | "moved"
  /** Bytes that no writer of ours made. */
  | "junk"

/** So much memory is got for a frame because a header says that it is that long; more only as the bytes come. */
const onTrust = 64 * 1024 * 1024

/** Every byte is going to be written, so none has to be zero first. */
const fresh = (bytes: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)

/** Puts a stream's pieces together; they may come by a ring and by a private lane in turn. */
export class Assembly {
  /** The bytes of the frame that was completed last lie here, from 0 to `length`; valid until the next piece is read. */
  bytes: Uint8Array
  length = 0
  /** Tags of its last piece. */
  tag0 = 0
  tag1 = 0
  private scratch: Uint8Array
  private readonly kept: number
  private readonly maximum: number
  private received = 0

  /** `maximum` bounds the frames taken, `kept` those that are put together in memory that is used again, both in bytes. */
  constructor(maximum: number, kept: number) {
    this.maximum = maximum
    this.kept = kept
    this.scratch = new Uint8Array(Math.min(4096, kept))
    this.bytes = this.scratch
  }

  /** Memory for a frame of so many bytes, or for the beginning of one that is so long that its peer has to send it first. */
  private memoryFor(total: number): Uint8Array {
    if (total <= this.scratch.length) return this.scratch
    if (total > this.kept) return fresh(Math.min(total, onTrust))
    return this.scratch = new Uint8Array(Math.min(this.kept, 2 ** Math.ceil(Math.log2(total))))
  }

  /**
   * Whether the piece follows what is there already; if so there is room for it. One that begins a frame always does: the frame before it was
   * given up by its writer.
   */
  accepts({ length, offset, total }: Piece): boolean {
    if (total > this.maximum) return false
    if (offset === 0) {
      this.received = 0
      this.bytes = this.memoryFor(total)
      this.length = total
    } else if (offset !== this.received || total !== this.length) return false
    const needed = offset + length
    if (needed > this.bytes.length) {
      const longer = fresh(Math.min(total, Math.max(needed, this.bytes.length * 2)))
      longer.set(this.bytes.subarray(0, offset))
      this.bytes = longer
    }
    return true
  }

  /** Counts a piece; whether it was the frame's last. */
  add(length: number): boolean {
    this.received += length
    if (this.received !== this.length) return false
    this.received = 0
    return true
  }

  /** Whether the completed frame lies in memory of its own, so that `own` copies nothing. */
  isApart(): boolean {
    return this.bytes !== this.scratch
  }

  /** The completed frame as bytes that belong to the caller. */
  own(): Uint8Array {
    const bytes = this.bytes === this.scratch ? this.bytes.slice(0, this.length) : this.bytes
    this.bytes = this.scratch
    return bytes
  }
}

/** One reader's end of a ring. */
export class Reader {
  readonly ring: Ring
  readonly assembly: Assembly
  /** Where this reader stands; equal to its consumed word unless the writer has moved that. */
  position: number
  private readonly consumed: Word
  private readonly bit: number
  private readonly piece: Piece = { length: 0, total: 0, offset: 0 }

  /** `rank` is this reader's bit in the tags; `undefined` if every frame is for it. */
  constructor(ring: Ring, consumed: Word, assembly: Assembly, rank?: number) {
    this.ring = ring
    this.consumed = consumed
    this.assembly = assembly
    this.position = consumed.memory.load(consumed.index)
    this.bit = rank ?? -1
  }

  /** The consumed word as it is now. */
  load(): number {
    return this.consumed.memory.load(this.consumed.index)
  }

  /** Whether there may be something to take. */
  ready(): boolean {
    return this.ring.written() !== this.load()
  }

  private isMine(position: number): boolean {
    return this.bit < 0 || (this.ring.tag(position, this.bit >>> 5) & (1 << (this.bit & 31))) !== 0
  }

  private commit(position: number): boolean {
    if (this.consumed.memory.compareExchange(this.consumed.index, this.position, position) !== this.position) return false
    this.position = position
    return true
  }

  /** Takes pieces up to the end of the next frame, if all of it is there. */
  take(): Taken {
    const { assembly, piece, ring } = this
    const written = ring.written()
    const start = this.position
    let position = start
    // No writer is further ahead than the ring is long.
    const tooFar = distance(position, written) > ring.units
    while (position !== written) {
      const sound = !tooFar && ring.isSound(position, written, piece)
      const mine = sound && this.isMine(position)
      // The header is only what it seems if it cannot have been overwritten before it was read. A load would not do: nothing keeps it behind the
      // plain reads before it.
      if ((mine || !sound) && !this.commit(this.position)) return "moved"
      if (!sound) return "junk"
      const { length, offset } = piece
      const next = (position + ring.size(length)) | 0
      if (mine) {
        if (!assembly.accepts(piece)) return "junk"
        ring.read(position, length, assembly.bytes, offset)
        if (ring.geometry.tags > 0) {
          assembly.tag0 = ring.tag(position, 0)
          assembly.tag1 = ring.tag(position, 1)
        }
        if (!this.commit(next)) return "moved"
        if (assembly.add(length)) return "frame"
      }
      position = next
    }
    if (position !== this.position && !this.commit(position)) return "moved"
    return position === start ? "empty" : "part"
  }
}
