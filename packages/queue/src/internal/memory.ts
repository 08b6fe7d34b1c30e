/**
 * What the queues are written against: words that processes share, and bytes, and doorbells to sleep by. A simulation puts its own machine here,
 * with a point of preemption at every access, park and wake.
 */
import type { QueueError } from "@phalanx/core/QueueError"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Memory {
  /** Sequentially consistent, on the 32-bit word of this index. */
  readonly load: (word: number) => number
  readonly store: (word: number, value: number) => void
  /** Answers what the word held: `expected` if and only if it was replaced. */
  readonly compareExchange: (word: number, expected: number, value: number) => number
  /** Plain accesses, ordered only by the ones above. */
  readonly get: (word: number) => number
  readonly set: (word: number, value: number) => void
  readonly read: (offset: number, length: number, target: Uint8Array, at: number) => void
  readonly write: (offset: number, length: number, source: Uint8Array, from: number) => void
}

/** One word of a memory. */
export interface Word {
  readonly memory: Memory
  readonly index: number
}

/** The doorbell of another process. */
export interface Bell {
  readonly ring: () => void
  readonly close: () => void
}

/** What the processes of one machine find each other's memory and doorbells by: the names of files in a folder. */
export interface Machine {
  /** Fails unless the folder has room for all the segments that its caller is going to need. */
  readonly reserve: (operation: string, folder: string, bytes: number) => Effect.Effect<void, QueueError>
  /** A new zeroed segment, removed when the scope closes. */
  readonly create: (folder: string, name: string, bytes: number) => Effect.Effect<Memory, QueueError, Scope.Scope>
  /** A segment that another process made, of at least so many bytes. */
  readonly attach: (folder: string, name: string, bytes: number) => Effect.Effect<Memory, QueueError>
  /** Removes the files of a group that bear the number of a process, which has ended. */
  readonly sweepOf: (folder: string, prefix: string, pid: number) => void
  /** Removes every file whose name begins so when the last scope of this process that asked for it closes. */
  readonly sweepAtEnd: (folder: string, prefix: string, unless?: () => boolean) => Effect.Effect<void, never, Scope.Scope>
  /** A doorbell of this process: `onRing` is called on a turn of its event loop after somebody rang. Removed when the scope closes. */
  readonly park: (folder: string, name: string, onRing: () => void) => Effect.Effect<void, QueueError, Scope.Scope>
  /** Another process's doorbell. Throws `QueueError`. */
  readonly wake: (folder: string, name: string) => Bell
}

/** Fewer bytes than this are copied one by one, which costs less than a view. */
const short = 128

/** A mapped segment. */
export class MappedMemory implements Memory {
  readonly words: Int32Array
  readonly bytes: Uint8Array

  constructor(buffer: ArrayBuffer) {
    this.words = new Int32Array(buffer)
    this.bytes = new Uint8Array(buffer)
  }

  load(word: number): number {
    return Atomics.load(this.words, word)
  }

  store(word: number, value: number): void {
    Atomics.store(this.words, word, value)
  }

  compareExchange(word: number, expected: number, value: number): number {
    return Atomics.compareExchange(this.words, word, expected, value)
  }

  get(word: number): number {
    return this.words[word]!
  }

  set(word: number, value: number): void {
    this.words[word] = value
  }

  read(offset: number, length: number, target: Uint8Array, at: number): void {
    if (length < short) {
      const { bytes } = this
      for (let index = 0; index < length; index++) target[at + index] = bytes[offset + index]!
      return
    }
    target.set(this.bytes.subarray(offset, offset + length), at)
  }

  write(offset: number, length: number, source: Uint8Array, from: number): void {
    if (length < short) {
      const { bytes } = this
      for (let index = 0; index < length; index++) bytes[offset + index] = source[from + index]!
      return
    }
    this.bytes.set(from === 0 && length === source.length ? source : source.subarray(from, from + length), offset)
  }
}
