/** What was promised and what has come of it: every message from its sender to each of its readers, and who may sleep. */
import { awaited } from "../../src/internal/doorbell.ts"
import type { Scheduler, Watch } from "./scheduler.ts"
import { Cell, Lane, laneWords, lives, messages, Status, type World } from "./world.ts"

/** What is known of a life of a rank. */
const Entry = {
  rank: 0,
  seat: 1,
  state: 2,
  requests: 3,
  requestsTaken: 4,
  controls: 5,
  controlsTaken: 6,
  answers: 7,
  answersHeard: 8,
  isCurrent: 9,
  rounds: 10,
  incarnation: 11
} as const
const entryWords = 1024
const arrays = { requests: 32, controls: 32 + messages, answers: 32 + 2 * messages }

export const State = { none: 0, connected: 1, attached: 2, ended: 3, dead: 4, mad: 5 } as const

/** MQ-3 says 50 ms. The driver looks at the ring again every 5, and has other things to do as well: that much for each rank that keeps it full, one after the other. */
const requestMicros = 50_000
const lookMicros = 10_000
const controlMicros = 10_000

export class Ledger implements Watch {
  readonly scheduler: Scheduler
  readonly world: World
  private readonly ranks: number
  private readonly rounds: number
  private readonly workersLeave: boolean

  constructor(scheduler: Scheduler, plan: { readonly ranks: number; readonly rounds: number; readonly workersLeave: boolean }) {
    this.scheduler = scheduler
    this.world = scheduler.world
    this.ranks = plan.ranks
    this.rounds = plan.rounds
    this.workersLeave = plan.workersLeave
  }

  private field(life: number, field: number): number {
    return this.world.ledger[life * entryWords + field]!
  }

  private set(life: number, field: number, value: number): void {
    this.world.ledger[life * entryWords + field] = value
  }

  rank(life: number): number {
    return this.field(life, Entry.rank)
  }

  incarnation(life: number): number {
    return this.field(life, Entry.incarnation)
  }

  state(life: number): number {
    return this.field(life, Entry.state)
  }

  /** Whether the life has reached an end of its own making: killed, mad, told of its end. */
  isLive(life: number): boolean {
    return this.state(life) === State.connected || this.state(life) === State.attached
  }

  /** A new life of a rank; −1 if there have been too many. */
  connect(rank: number, seat: number, incarnation: number): number {
    const life = ++this.world.cells[Cell.lives]!
    if (life >= lives) return -1
    this.set(life, Entry.rank, rank)
    this.set(life, Entry.seat, seat)
    this.set(life, Entry.state, State.connected)
    this.set(life, Entry.isCurrent, 1)
    this.set(life, Entry.incarnation, incarnation)
    this.world.lifeOf[seat] = life
    return life
  }

  enter(life: number, state: number): void {
    this.set(life, Entry.state, state)
  }

  isCurrent(life: number): boolean {
    return this.field(life, Entry.isCurrent) === 1
  }

  /** A worker's process is no more; its driver hears of it so many microseconds later. */
  exits(life: number, state: number, micros: number): void {
    const { exits, status, timer } = this.world
    this.enter(life, state)
    this.retire(this.field(life, Entry.seat))
    if (life === 0) return
    exits[life] = this.scheduler.now + micros
    if (status[0] === Status.asleep) timer[0] = Math.min(timer[0]!, exits[life]!)
  }

  /** The driver has closed the life's lanes. */
  close(life: number): void {
    this.set(life, Entry.isCurrent, 0)
  }

  private push(life: number, count: number, array: number, id: number): void {
    const index = this.world.ledger[life * entryWords + count]!++
    this.world.ledger[life * entryWords + array + index] = id
  }

  publishes(life: number, kind: "request" | "control", id: number): void {
    this.world.ledgerTimes[id] = this.scheduler.now
    if (kind === "request") this.push(life, Entry.requests, arrays.requests, id)
    else this.push(life, Entry.controls, arrays.controls, id)
    this.scheduler.note(kind === "request" ? "publish" : "control", 0, this.rank(life), id, life)
  }

  private next(life: number, sent: number, taken: number, array: number, id: number, what: string): void {
    const index = this.field(life, taken)
    const due = index < this.field(life, sent) ? this.field(life, array + index) : -1
    if (due !== id) {
      const expected = due < 0 ? "nothing was due" : `${what} ${due} was due`
      this.scheduler.fail(`MQ-1: ${what} ${id} came of rank ${this.rank(life)}, where ${expected}`)
    }
    this.set(life, taken, index + 1)
  }

  /** A worker has got a message. */
  takes(life: number, kind: "request" | "control", id: number): void {
    const { scheduler, world } = this
    scheduler.note("deliver", 0, kind === "request" ? 0 : 1, id, life)
    if (kind === "request") this.next(life, Entry.requests, Entry.requestsTaken, arrays.requests, id, "request")
    else this.next(life, Entry.controls, Entry.controlsTaken, arrays.controls, id, "control frame")
    const sent = world.ledgerTimes[id]!
    const late = scheduler.now - Math.max(sent, world.sick[life]!, world.sick[0]!)
    const isDisturbed = world.sick[life]! > sent || world.sick[0]! > sent
    const bound = kind === "request" ? requestMicros + lookMicros * Math.max(1, this.sickSince(sent)) : controlMicros
    if (!isDisturbed && late > bound && world.status[0] !== Status.dead) {
      scheduler.fail(`MQ-3: ${kind} ${id} reached rank ${this.rank(life)} after ${(late / 1000).toFixed(1)} ms, though both sides ran`)
    }
  }

  /** How many workers have stood still, or been slow, since then. */
  private sickSince(time: number): number {
    return this.world.sick.reduce((count, until, life) => life > 0 && until > time ? count + 1 : count, 0)
  }

  answers(life: number, id: number): void {
    this.push(life, Entry.answers, arrays.answers, id)
    this.scheduler.note("answer", 0, this.rank(life), id, life)
  }

  hears(life: number, id: number): void {
    this.scheduler.note("hear", 0, this.rank(life), id, life)
    this.next(life, Entry.answers, Entry.answersHeard, arrays.answers, id, "answer")
  }

  round(life: number): void {
    this.set(life, Entry.rounds, this.field(life, Entry.rounds) + 1)
    this.scheduler.note("round", 0, this.rank(life), this.field(life, Entry.rounds), life)
  }

  /** How many messages are on their way to those who live. */
  underWay(): number {
    let count = 0
    for (let life = 1; life < lives; life++) {
      if (this.field(life, Entry.isCurrent) === 0) continue
      count += this.field(life, Entry.requests) - this.field(life, Entry.requestsTaken)
      count += this.field(life, Entry.controls) - this.field(life, Entry.controlsTaken)
    }
    return count
  }

  /** Registers a ring or lane: words by their index in the arena. */
  addLane(fields: Record<keyof typeof Lane, number>): void {
    const { cells, lanes } = this.world
    const at = cells[Cell.lanes]!++ * laneWords
    for (const [name, index] of Object.entries(Lane)) lanes[at + index] = fields[name as keyof typeof Lane]
  }

  /** The lanes of a process that is no more are nobody's concern. */
  retire(seat: number): void {
    this.eachLane((at) => {
      const { lanes } = this.world
      if (lanes[at + Lane.reader] !== seat && lanes[at + Lane.writer] !== seat) return
      lanes[at + Lane.reader] = -1
      lanes[at + Lane.capacity] = 0
    })
  }

  /** Where the lane with this consumed word is among the lanes; −1 if nobody has it any more. */
  laneOf(consumed: number): number {
    const { cells, lanes } = this.world
    for (let index = cells[Cell.lanes]! - 1; index >= 0; index--) {
      if (lanes[index * laneWords + Lane.consumed] === consumed) return index * laneWords
    }
    return -1
  }

  private eachLane(each: (at: number) => void): void {
    for (let index = 0; index < this.world.cells[Cell.lanes]!; index++) each(index * laneWords)
  }

  /** Asleep for no other reason than that it has nothing to do. */
  private sleeps(seat: number): boolean {
    const { clock, status, until } = this.world
    return seat >= 0 && status[seat] === Status.asleep && until[seat]! <= clock[0]!
  }

  /** Whether the lane holds a piece for its reader. */
  private holds(at: number): boolean {
    const { arenaInts, lanes } = this.world
    const consumed = arenaInts[lanes[at + Lane.consumed]!]!
    const written = arenaInts[lanes[at + Lane.written]!]!
    const tags = lanes[at + Lane.named]!
    if (tags === 0) return consumed !== written
    if ((consumed & 1) !== 0) return false
    const mask = lanes[at + Lane.capacity]! / 4 - 1
    const first = lanes[at + Lane.data]! / 4
    const rank = lanes[at + Lane.rank]!
    for (let position = consumed; position !== written;) {
      const word = (index: number): number => arenaInts[first + ((position + index) & mask)]!
      if ((word(4 + (rank >>> 5)) & (1 << (rank & 31))) !== 0) return true
      position = (position + 4 + tags + ((word(0) + 7) >>> 3) * 2) | 0
    }
    return false
  }

  /** Whether the sleeper whose parked word this is waits for more messages than have come. */
  private counts(parked: number): boolean {
    const { arenaInts, cells, sleepers } = this.world
    for (let index = 0; index < cells[Cell.sleepers]!; index++) {
      if (sleepers[index * 2] !== parked) continue
      const [left, all] = [arenaInts[parked]!, sleepers[index * 2 + 1]!]
      return awaited(left) > 0 && awaited(left) < awaited(all) && left - awaited(left) === all - awaited(all)
    }
    return false
  }

  /** Nobody can run: whether somebody sleeps who has something to do. */
  quiet(): string | undefined {
    const { arenaInts, lanes } = this.world
    let found: string | undefined
    /** Rings of several readers, by their written word: whether one of them lacks nothing but a reader's attention. */
    const busy = new Set<number>()
    this.eachLane((at) => {
      const state = lanes[at + Lane.state]!
      if (lanes[at + Lane.reader]! < 0) {
        // The driver has not heard yet that this reader is dead.
        if (state !== 0 && arenaInts[state]! <= 1) busy.add(lanes[at + Lane.written]!)
        return
      }
      if (this.holds(at) || !this.sleeps(lanes[at + Lane.reader]!) || (state !== 0 && arenaInts[state] !== 1)) {
        busy.add(lanes[at + Lane.written]!)
      }
    })
    this.eachLane((at) => {
      const [reader, writer] = [lanes[at + Lane.reader]!, lanes[at + Lane.writer]!]
      const state = lanes[at + Lane.state]!
      if (!this.sleeps(reader) || !this.sleeps(writer) || (state !== 0 && arenaInts[state] !== 1)) return
      const whose = lanes[at + Lane.rank]!
      const readerParked = lanes[at + Lane.readerParked]!
      if (this.holds(at) && !this.counts(readerParked)) {
        found = `a wake-up was lost: ${
          reader === 0 ? "the driver" : `rank ${whose}`
        } sleeps while there is something for it to read, parked ${arenaInts[readerParked]}`
      }
      if (arenaInts[lanes[at + Lane.wantsRoom]!] !== 0 && !busy.has(lanes[at + Lane.written]!)) {
        found = `a wake-up was lost: ${writer === 0 ? "the driver" : `rank ${whose}`} sleeps while there is the room that it waits for`
      }
    })
    return found
  }

  /** Everybody is at rest: whether there is more to come. */
  rest(): boolean {
    const { cells, mail, status } = this.world
    const stage = cells[Cell.stage]!++
    if (status[0] === Status.dead && this.state(0) !== State.ended) return false
    if (stage === 0) {
      this.complete()
      if (this.workersLeave) {
        for (let life = 1; life < lives; life++) if (this.state(life) === State.attached) mail[this.field(life, Entry.seat)] = 1
        return true
      }
      cells[Cell.stage]!++
    }
    if (stage <= 1) {
      mail[0] = 1
      return true
    }
    for (let life = 1; life < lives; life++) {
      if (this.isLive(life)) this.scheduler.fail(`rank ${this.rank(life)} was not told that the driver has closed its lanes`)
    }
    return false
  }

  /** All that was sent must have come. */
  private complete(): void {
    for (let life = 1; life < lives; life++) {
      if (!this.isLive(life)) continue
      const rank = this.rank(life)
      if (!this.isCurrent(life)) this.scheduler.fail(`rank ${rank} was not told that its lanes were closed`)
      this.compare(life, "requests", Entry.requests, Entry.requestsTaken)
      this.compare(life, "control frames", Entry.controls, Entry.controlsTaken)
      this.compare(life, "answers", Entry.answers, Entry.answersHeard)
    }
    const firsts = Array.from({ length: this.ranks }, (_, rank) => 1 + rank)
    if (!firsts.every((life) => this.isLive(life))) return
    for (const life of firsts) {
      const done = this.field(life, Entry.rounds)
      if (done === this.rounds) continue
      this.scheduler.fail(`rank ${this.rank(life)} has ended ${done} of ${this.rounds} exchanges, and everybody sleeps`)
    }
  }

  private compare(life: number, what: string, sent: number, taken: number): void {
    const [all, some] = [this.field(life, sent), this.field(life, taken)]
    if (all !== some) this.scheduler.fail(`MQ-1: ${some} of ${all} ${what} of rank ${this.rank(life)} have come, and everybody sleeps`)
  }
}
