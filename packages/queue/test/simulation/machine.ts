/** Files and doorbells of a simulated machine, as one of its processes sees them. */
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import type { Machine, Memory } from "../../src/internal/memory.ts"
import { type Kind, kinds, type Labels, labelsOf, type Sizes } from "./labels.ts"
import { type Accesses, SimulatedMemory } from "./memory.ts"
import { Cell, File, fileWords } from "./world.ts"

const absent = (operation: string, name: string): QueueError =>
  new QueueError({ operation, where: name, issue: "ENOENT", advice: "Its creator has removed it" })

const hash = (name: string, seed: number): number => {
  let state = seed
  for (let index = 0; index < name.length; index++) state = Math.imul(state ^ name.charCodeAt(index), 0x01000193)
  return state
}

/** The machine, and what the next file that is made on it is going to be. */
export class SimulatedMachine implements Machine {
  nextKind: Kind = "group"
  nextOf = 0
  private readonly accesses: Accesses
  private readonly labels: Record<Kind, Labels>
  private readonly pid: number
  private readonly onRing: Array<() => void>

  /** Of a process with this number, whose doorbell calls `onRing`. */
  constructor(accesses: Accesses, sizes: Sizes, pid: number, onRing: Array<() => void>) {
    this.accesses = accesses
    this.labels = labelsOf(sizes)
    this.pid = pid
    this.onRing = onRing
  }

  readonly reserve = () => Effect.void
  readonly sweepAtEnd = () => Effect.void

  readonly sweepOf = (_folder: string, _prefix: string, pid: number) => {
    this.accesses.scheduler.step()
    const { cells, files } = this.accesses.world
    for (let file = 0; file < cells[Cell.files]!; file++) {
      if (this.field(file, File.pid) === pid && pid !== this.pid) files[file * fileWords + File.present] = 0
    }
  }

  readonly create = (_folder: string, name: string, bytes: number) =>
    Effect.acquireRelease(
      Effect.sync((): Memory => this.memory(this.add(name, this.nextKind, this.nextOf, bytes), true)),
      () => Effect.sync(() => this.remove(name))
    )

  readonly attach = (_folder: string, name: string, bytes: number): Effect.Effect<Memory, QueueError> =>
    Effect.suspend(() => {
      const file = this.find(name)
      if (file < 0 || this.field(file, File.bytes) < bytes) return Effect.fail(absent("attach to segment", name))
      return Effect.succeed(this.memory(file))
    })

  readonly park = (_folder: string, name: string, onRing: () => void) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        this.add(name, "doorbell", this.accesses.scheduler.seat, 0)
        this.onRing.push(onRing)
      }),
      () => Effect.sync(() => this.remove(name))
    )

  readonly wake = (_folder: string, name: string) => {
    const file = this.find(name)
    if (file < 0) throw absent("open doorbell", name)
    const { scheduler, world } = this.accesses
    return {
      ring: () => {
        scheduler.step()
        this.accesses.settle()
        const seat = this.field(file, File.of)
        scheduler.note("ring", file, seat, 0, 0)
        // Its process may be gone; the file outlives it.
        if (world.generation[seat] !== this.field(file, File.generation)) return
        world.rung[seat] = 1
        scheduler.rang(seat)
      },
      close: () => {}
    }
  }

  /** The file's number; −1 if there is none of this name. */
  find(name: string): number {
    this.accesses.scheduler.step()
    const { cells } = this.accesses.world
    const low = hash(name, 0x811c9dc5)
    const high = hash(name, 0x1234567)
    for (let file = 0; file < cells[Cell.files]!; file++) {
      if (this.field(file, File.low) === low && this.field(file, File.high) === high && this.field(file, File.present) === 1) return file
    }
    return -1
  }

  /** Where a file begins, in bytes. */
  base(file: number): number {
    return this.field(file, File.base)
  }

  memory(file: number, isMaker = false): SimulatedMemory {
    const { makers, others, rings } = this.labels[kinds[this.field(file, File.kind)]!]
    return new SimulatedMemory(this.accesses, file, this.base(file), this.field(file, File.bytes), isMaker ? makers : others, rings[0]![1])
  }

  private field(file: number, field: number): number {
    return this.accesses.world.files[file * fileWords + field]!
  }

  private add(name: string, kind: Kind, of: number, bytes: number): number {
    this.accesses.scheduler.step()
    const { arena, cells, files, generation } = this.accesses.world
    const file = cells[Cell.files]!++
    const base = cells[Cell.used]!
    cells[Cell.used]! += Math.ceil(bytes / 64) * 64
    if (cells[Cell.used]! > arena.length || (file + 1) * fileWords > files.length) throw new Error("the simulated machine is full")
    const fields = [hash(name, 0x811c9dc5), hash(name, 0x1234567), kinds.indexOf(kind), of, base, bytes, 1, generation[of] ?? 0, this.pid]
    files.set(fields, file * fileWords)
    return file
  }

  private remove(name: string): void {
    const file = this.find(name)
    if (file >= 0) this.accesses.world.files[file * fileWords + File.present] = 0
  }
}
