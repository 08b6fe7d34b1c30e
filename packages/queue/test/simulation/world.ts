/**
 * A simulated machine, as memory that all threads of a simulation share: what its processes share with each other, and the books of who runs,
 * what time it is and what has happened. Each thread is a *seat* for one process at a time. Exactly one of them runs, so that only the batons
 * by which they take turns are accessed atomically.
 */

/** The driver's, and those of its workers. */
export const seats = 5
/** Lives of processes in one run; the driver's is 0. */
export const lives = 16
export const messages = 256

export const Status = { free: 0, running: 1, asleep: 2, dead: 3 } as const

/** What a process is at, as far as the words that it accesses tell. */
export const phases = [
  "starting",
  "writing a piece",
  "published",
  "ringing",
  "moving a reader",
  "wanting room",
  "copying a piece",
  "copying a lane's piece",
  "taken",
  "parking",
  "asleep",
  "awake again"
] as const
export type Phase = typeof phases[number]

/** What may befall a process. It is lapped if it keeps a full ring full; it is replaced if its driver connects its rank anew. */
export const faults = ["kill", "freeze", "slow", "scribble", "lap", "replace"] as const
export type FaultKind = typeof faults[number]

/** Single numbers. */
export const Cell = {
  step: 0,
  random: 1,
  countdown: 2,
  over: 3,
  failed: 4,
  turn: 5,
  used: 6,
  files: 7,
  lanes: 8,
  sleepers: 9,
  stage: 10,
  replays: 11,
  traces: 12,
  traced: 13,
  decided: 14,
  scripted: 15,
  history: 16,
  lives: 17,
  joined: 18,
  lowest: 19,
  switches: 20,
  salt: 21,
  policy: 22,
  rate: 23,
  variant: 24
} as const

export const baton = (seat: number): number => seat * 16

export const fileWords = 9
export const File = { low: 0, high: 1, kind: 2, of: 3, base: 4, bytes: 5, present: 6, generation: 7, pid: 8 } as const

export const laneWords = 12
export const Lane = {
  writer: 0,
  reader: 1,
  written: 2,
  consumed: 3,
  wantsRoom: 4,
  readerParked: 5,
  writerParked: 6,
  data: 7,
  capacity: 8,
  /** Words of tags if the rank's bit in them says whether it reads a piece, else 0. */
  named: 9,
  rank: 10,
  /** The word that is 1 (`attached`) or 0 (`open`) while the lane is in use, or 0. */
  state: 11
} as const

export const decisionWords = 3
export const decisionsKept = 16_384
export const traceWords = 8
export const tracesKept = 16_384
export const historyKept = 256
export const arenaBytes = 1 << 20
const textBytes = 1 << 17

export class World {
  readonly buffer: SharedArrayBuffer
  readonly batons: Int32Array
  /** The seed that is being run. */
  readonly seed: Int32Array
  readonly cells: Int32Array
  readonly status: Int32Array
  /** How many operations each seat's processes have begun. */
  readonly operations: Int32Array
  readonly rung: Int32Array
  readonly mail: Int32Array
  readonly generation: Int32Array
  readonly lifeOf: Int32Array
  /** What each seat's process is at, by its place among the phases. */
  readonly phase: Int32Array
  readonly priority: Int32Array
  /** Microseconds. */
  readonly clock: Float64Array
  /** Until when a seat's process is stopped. */
  readonly until: Float64Array
  /** When a sleeping process's next timer is due. */
  readonly timer: Float64Array
  /** When the driver hears of the end of a life's process; 0 if not. */
  readonly exits: Float64Array
  /** Until when a life was last stopped. */
  readonly sick: Float64Array
  readonly files: Int32Array
  readonly lanes: Int32Array
  /** Pairs of a parked word and what was stored there last. */
  readonly sleepers: Int32Array
  /** Steps, words and former values of the latest atomic changes. */
  readonly history: Int32Array
  /** Who was preempted by whom at which of its operations. */
  readonly decisions: Int32Array
  readonly script: Int32Array
  readonly fired: Int32Array
  readonly ledger: Int32Array
  readonly ledgerTimes: Float64Array
  readonly coverage: Int32Array
  readonly traces: Int32Array
  private readonly texts: Uint8Array
  private readonly textLengths: DataView
  readonly arena: Uint8Array
  readonly arenaInts: Int32Array

  constructor(buffer?: SharedArrayBuffer) {
    let size = 0
    const from = buffer ?? new SharedArrayBuffer(4 << 20)
    const place = (bytes: number): number => {
      const at = size
      size += Math.ceil(bytes / 64) * 64
      return at
    }
    const ints = (length: number): Int32Array => new Int32Array(from, place(length * 4), length)
    const floats = (length: number): Float64Array => new Float64Array(from, place(length * 8), length)
    this.buffer = from
    this.batons = ints(seats * 16)
    this.seed = ints(1)
    this.cells = ints(32)
    this.status = ints(seats)
    this.operations = ints(seats)
    this.rung = ints(seats)
    this.mail = ints(seats)
    this.generation = ints(seats)
    this.lifeOf = ints(seats)
    this.phase = ints(seats)
    this.priority = ints(seats)
    this.clock = floats(1)
    this.until = floats(seats)
    this.timer = floats(seats)
    this.exits = floats(lives)
    this.sick = floats(lives)
    this.files = ints(64 * fileWords)
    this.lanes = ints(96 * laneWords)
    this.sleepers = ints(64 * 2)
    this.history = ints(historyKept * 3)
    this.decisions = ints(decisionsKept * decisionWords)
    this.script = ints(decisionsKept * decisionWords)
    this.fired = ints(32)
    this.ledger = ints(lives * 1024)
    this.ledgerTimes = floats(messages + 2 * lives)
    this.coverage = ints(2 * faults.length * phases.length)
    this.traces = ints(tracesKept * traceWords)
    this.texts = new Uint8Array(from, place(textBytes), textBytes)
    this.textLengths = new DataView(from, this.texts.byteOffset, textBytes)
    const base = place(arenaBytes)
    this.arena = new Uint8Array(from, base, arenaBytes)
    this.arenaInts = new Int32Array(from, base, arenaBytes / 4)
  }

  /** Forgets the former run. */
  reset(): void {
    const { cells } = this
    const turn = cells[Cell.turn]!
    this.arena.fill(0, 0, cells[Cell.used]!)
    const former = [
      this.status,
      this.operations,
      this.rung,
      this.mail,
      this.lifeOf,
      this.phase,
      this.priority,
      this.files,
      this.lanes,
      this.sleepers
    ]
    for (const array of [...former, this.history, this.fired, this.ledger, cells]) array.fill(0)
    for (const array of [this.clock, this.until, this.timer, this.exits, this.sick, this.ledgerTimes]) array.fill(0)
    cells[Cell.turn] = turn + 1
  }

  putText(text: Text, value: string): void {
    const { written } = encoder.encodeInto(value, this.texts.subarray(text.at + 4, text.at + text.room))
    this.textLengths.setInt32(text.at, written)
  }

  text(text: Text): string {
    return decoder.decode(this.texts.slice(text.at + 4, text.at + 4 + this.textLengths.getInt32(text.at)))
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A place for a text. */
interface Text {
  readonly at: number
  readonly room: number
}

export const handleOf = (life: number): Text => ({ at: life * 1024, room: 1024 })
export const peerHandleOf = (life: number): Text => ({ at: (lives + life) * 1024, room: 1024 })
export const failureText: Text = { at: 2 * lives * 1024, room: 4096 }
export const planText: Text = { at: 2 * lives * 1024 + 4096, room: textBytes - 2 * lives * 1024 - 4096 }
