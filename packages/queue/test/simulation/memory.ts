/**
 * Memory of a simulated machine: every operation is a point of preemption, bulk copies are torn, and what is not atomic is as weakly ordered as on
 * the weakest machine that runs the real thing.
 *
 * - A plain write becomes visible at its process's next atomic store at the latest, and until then in any part.
 * - An atomic load may be done before the plain reads that its process has made since its last atomic operation: nothing keeps a load behind
 *   earlier plain ones.
 */
import type { Memory } from "../../src/internal/memory.ts"
import type { Scheduler } from "./scheduler.ts"
import { Cell, File, fileWords, historyKept, Lane, laneWords, type World } from "./world.ts"

/** What the words of a file are for, as far as a process's phase follows from it. */
export type Purpose = "written" | "own consumed" | "other's consumed" | "wantsRoom" | "parked" | "none"

/** A piece of a file that has not become visible yet. */
interface Pending {
  readonly memory: SimulatedMemory
  readonly offset: number
  readonly bytes: Uint8Array
}

/** What one process does to memory. */
export class Accesses {
  readonly scheduler: Scheduler
  readonly isWeak: boolean
  /** Told of each reader's word that this process marks, and of each unmarked one that it stores something in. */
  onLap: (word: number) => void = () => {}
  onMove: (word: number) => void = () => {}
  private pending: Array<Pending> = []
  /** Whether a plain read was made since the last atomic operation, and in which step that was. */
  private hasRead = false
  private lastAtomic = 0

  constructor(scheduler: Scheduler, isWeak: boolean) {
    this.scheduler = scheduler
    this.isWeak = isWeak
    scheduler.settle = () => this.settle()
  }

  get world(): World {
    return this.scheduler.world
  }

  read(): void {
    this.settle()
    this.hasRead = true
  }

  write(memory: SimulatedMemory, offset: number, bytes: Uint8Array): void {
    if (!this.isWeak || this.scheduler.chance(3) === 0) return memory.apply(offset, bytes)
    this.pending.push({ memory, offset, bytes: bytes.slice() })
  }

  /** Makes what was written visible. */
  settle(): void {
    if (this.pending.length === 0) return
    const settled = this.pending
    this.pending = []
    for (const { bytes, memory, offset } of settled) memory.apply(offset, bytes)
  }

  /** What an atomic load of the word finds. */
  loads(word: number, value: number): number {
    const { world } = this
    const isEarly = this.isWeak && this.hasRead && this.scheduler.chance(4) === 0
    const since = this.lastAtomic
    this.hasRead = false
    this.lastAtomic = world.cells[Cell.step]!
    if (!isEarly) return value
    const { cells, history } = world
    const count = cells[Cell.history]!
    let found = value
    for (let index = count - 1; index >= 0 && index >= count - historyKept; index--) {
      const at = (index % historyKept) * 3
      if (history[at]! <= since) break
      if (history[at + 1] === word) found = history[at + 2]!
    }
    return found
  }

  /** An atomic change. */
  changes(word: number, former: number): void {
    const { cells, history } = this.world
    const at = (cells[Cell.history]!++ % historyKept) * 3
    history[at] = cells[Cell.step]!
    history[at + 1] = word
    history[at + 2] = former
    this.hasRead = false
    this.lastAtomic = cells[Cell.step]!
  }
}

export class SimulatedMemory implements Memory {
  private readonly accesses: Accesses
  private readonly scheduler: Scheduler
  private readonly file: number
  private readonly words: Int32Array
  private readonly bytes: Uint8Array
  private readonly firstWord: number
  private readonly purposes: ReadonlyArray<Purpose>
  private readonly data: number
  private readonly scratch = new Int32Array(1)
  private readonly scratchBytes = new Uint8Array(this.scratch.buffer)

  /** `purposes` of the words before the byte `data`, where the rings' bytes begin. */
  constructor(accesses: Accesses, file: number, base: number, length: number, purposes: ReadonlyArray<Purpose>, data: number) {
    const { arena, arenaInts } = accesses.world
    this.accesses = accesses
    this.scheduler = accesses.scheduler
    this.file = file
    this.firstWord = base / 4
    this.words = arenaInts.subarray(base / 4, (base + length) / 4)
    this.bytes = arena.subarray(base, base + length)
    this.purposes = purposes
    this.data = data
  }

  /** Whether its file has not been removed. */
  isPresent(): boolean {
    return this.accesses.world.files[this.file * fileWords + File.present] === 1
  }

  load(word: number): number {
    this.scheduler.step()
    const value = this.accesses.loads(this.firstWord + word, this.words[word]!)
    this.scheduler.note("load", this.file, word, value, 0)
    return value
  }

  store(word: number, value: number): void {
    this.scheduler.step()
    this.accesses.settle()
    const purpose = this.purposes[word]
    if (purpose === "other's consumed" && (this.words[word]! & 1) === 0) this.accesses.onMove(this.firstWord + word)
    this.changed(word, value)
    this.scheduler.note("store", this.file, word, value, 0)
    if (purpose === "written") this.scheduler.enter("published")
    else if (purpose === "wantsRoom" && value !== 0) this.scheduler.enter("wanting room")
    else if (purpose === "other's consumed") this.scheduler.enter("moving a reader")
    else if (purpose === "parked") {
      this.sleeps(this.firstWord + word, value)
      this.scheduler.enter(value === 0 ? "awake again" : "parking")
    }
  }

  compareExchange(word: number, expected: number, value: number): number {
    this.scheduler.step()
    const found = this.words[word]!
    if (found === expected) {
      this.accesses.settle()
      this.changed(word, value)
    } else this.accesses.loads(this.firstWord + word, found)
    this.scheduler.note("exchange", this.file, word, value, found === expected ? 1 : 0)
    const purpose = this.purposes[word]
    if (purpose === "parked") this.scheduler.enter("ringing")
    else if (purpose === "own consumed" && value !== expected) this.scheduler.enter("taken")
    else if (purpose === "other's consumed") {
      this.scheduler.enter("moving a reader")
      if (found === expected && (value & 1) !== 0) this.accesses.onLap(this.firstWord + word)
    }
    return found
  }

  get(word: number): number {
    this.scheduler.step()
    this.accesses.read()
    const value = this.words[word]!
    this.scheduler.note("get", this.file, word, value, 0)
    if (word * 4 >= this.data) this.copying()
    return value
  }

  set(word: number, value: number): void {
    this.scheduler.step()
    this.scratch[0] = value
    this.accesses.write(this, word * 4, this.scratchBytes)
    this.scheduler.note("set", this.file, word, value, 0)
    if (word * 4 >= this.data) this.scheduler.enter("writing a piece")
  }

  read(offset: number, length: number, target: Uint8Array, at: number): void {
    if (offset >= this.data) this.copying()
    this.torn(length, (from, to) => {
      this.accesses.read()
      target.set(this.bytes.subarray(offset + from, offset + to), at + from)
      this.scheduler.note("read", this.file, offset + from, to - from, 0)
    })
  }

  write(offset: number, length: number, source: Uint8Array, from: number): void {
    if (offset >= this.data) this.scheduler.enter("writing a piece")
    this.torn(length, (begin, end) => {
      this.accesses.write(this, offset + begin, source.subarray(from + begin, from + end))
      this.scheduler.note("write", this.file, offset + begin, end - begin, 0)
    })
  }

  /** Makes a plain write visible. */
  apply(offset: number, bytes: Uint8Array): void {
    if (offset >= this.data) this.guard(offset, bytes.length)
    this.bytes.set(bytes, offset)
  }

  /** In up to three parts, in any order. */
  private torn(length: number, part: (from: number, to: number) => void): void {
    const { scheduler } = this
    scheduler.step()
    const first = length < 8 || scheduler.chance(2) === 0 ? length : 4 * scheduler.chance(length >> 2)
    const isReversed = first < length && scheduler.chance(4) > 1
    if (isReversed) {
      part(first, length)
      scheduler.step()
    }
    if (first > 0) part(0, first)
    if (first === length || isReversed) return
    scheduler.step()
    part(first, length)
  }

  private changed(word: number, value: number): void {
    this.accesses.changes(this.firstWord + word, this.words[word]!)
    this.words[word] = value
  }

  private copying(): void {
    this.scheduler.enter(this.file === 0 ? "copying a piece" : "copying a lane's piece")
  }

  private sleeps(word: number, value: number): void {
    const { cells, sleepers } = this.accesses.world
    let index = 0
    while (index < cells[Cell.sleepers]! && sleepers[index * 2] !== word) index++
    if (index === cells[Cell.sleepers]) cells[Cell.sleepers]!++
    sleepers[index * 2] = word
    sleepers[index * 2 + 1] = value
  }

  /** RG-1: what a reader has not taken is not overwritten while its consumed word is what it was. */
  private guard(offset: number, length: number): void {
    const { arenaInts, cells, lanes } = this.accesses.world
    const from = this.firstWord * 4 + offset
    for (let index = 0; index < cells[Cell.lanes]!; index++) {
      const at = index * laneWords
      const data = lanes[at + Lane.data]!
      const capacity = lanes[at + Lane.capacity]!
      if (from < data || from >= data + capacity) continue
      const state = lanes[at + Lane.state]!
      const consumed = arenaInts[lanes[at + Lane.consumed]!]!
      if ((state !== 0 && arenaInts[state]! > 1) || (consumed & 1) !== 0) continue
      const unread = (arenaInts[lanes[at + Lane.written]!]! - consumed) >>> 0
      const units = capacity / 4
      const first = (((from - data) >> 2) - consumed) & (units - 1)
      const last = (((from + length - 1 - data) >> 2) - consumed) & (units - 1)
      if (first < unread || last < unread) {
        this.scheduler.fail(`RG-1: ${length} bytes were overwritten that rank ${lanes[at + Lane.rank]} has not taken`)
      }
    }
  }
}
