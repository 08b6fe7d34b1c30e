/**
 * Who runs. Every thread of a simulation has a scheduler of its own over the same books; whoever has the baton decides at each of its operations
 * whether to go on or to hand the baton to another. What they decide is drawn from the seed, or read from the script of a run that is replayed.
 */
import type { Fault } from "./plan.ts"
import { scribble } from "./scribble.ts"
import {
  baton,
  Cell,
  decisionsKept,
  decisionWords,
  failureText,
  type FaultKind,
  faults,
  type Phase,
  phases,
  seats,
  Status,
  tracesKept,
  traceWords,
  type World
} from "./world.ts"

/** Microseconds that an operation takes. */
const operationMicros = 0.1
/** So many operations make a run that does not come to rest. */
const stepLimit = 600_000

/** What an operation is, for the trace. */
export const operations = [
  "load",
  "store",
  "exchange",
  "get",
  "set",
  "read",
  "write",
  "ring",
  "wake",
  "sleep",
  "fault",
  "switch",
  "leap",
  "publish",
  "control",
  "deliver",
  "answer",
  "hear",
  "flush",
  "told",
  "round"
] as const
export type Operation = typeof operations[number]

/** Thrown through the code of a process that comes to its end: by a fault, or because the run is over. */
export class Unwinding extends Error {
  readonly fate: "kill" | "scribble" | "over"
  constructor(fate: "kill" | "scribble" | "over") {
    super(fate)
    this.fate = fate
  }
}

/** What the scheduler asks the ledger. */
export interface Watch {
  /** What is wrong now that nobody can run, if anything. */
  readonly quiet: () => string | undefined
  /** Everything has come to rest: whether there is more to do. */
  readonly rest: () => boolean
}

export class Scheduler {
  readonly world: World
  readonly seat: number
  watch: Watch | undefined
  /** Set while a process comes to its end: every operation throws it. */
  unwinding: Unwinding | undefined
  /** Makes plain writes that are under way visible. */
  settle: () => void = () => {}
  private turn = -1
  private holding: boolean
  private faults: Array<{ readonly fault: Fault; left: number }> = []
  private armed: Fault | undefined
  private delay = 0
  private slow = 0
  private next = 0
  private outranked = false
  private isTraced = false

  constructor(world: World, seat: number) {
    this.world = world
    this.seat = seat
    this.holding = seat === 0
  }

  get phase(): Phase {
    return phases[this.world.phase[this.seat]!]!
  }

  get now(): number {
    return this.world.clock[0]!
  }

  /** A number below `bound`, of this run's one stream. */
  draw(bound: number): number {
    const { cells } = this.world
    const state = (cells[Cell.random]! + 0x6d2b79f5) | 0
    cells[Cell.random] = state
    return mix(state) % bound
  }

  /** A number below `bound` that depends on the run, the process and how many operations it has begun, but not on what others do. */
  chance(bound: number): number {
    const { cells, operations } = this.world
    return mix(cells[Cell.salt]! + Math.imul(this.seat + 1, 0x9e3779b1) + Math.imul(operations[this.seat]!, 0x85ebca6b)) % bound
  }

  /** Before a process begins. */
  begin(planned: ReadonlyArray<Fault>): void {
    const { cells } = this.world
    this.turn = cells[Cell.turn]!
    this.isTraced = cells[Cell.traces] !== 0
    this.world.status[this.seat] = Status.running
    this.unwinding = undefined
    this.world.phase[this.seat] = 0
    this.armed = undefined
    this.slow = 0
    this.outranked = false
    this.next = 0
    this.faults = planned.filter((fault) => this.world.fired[fault.id] === 0).map((fault) => ({ fault, left: fault.nth }))
    while (this.next < cells[Cell.scripted]! && this.isPast(this.next)) this.next++
  }

  /** Called before each operation: others may run, and this process may come to harm. */
  step(): void {
    if (this.unwinding !== undefined) throw this.unwinding
    const { cells, clock, operations } = this.world
    operations[this.seat]!++
    clock[0]! += operationMicros
    if (++cells[Cell.step]! > stepLimit) this.fail("the run does not come to rest")
    if (this.armed !== undefined && this.delay-- <= 0) this.strike(this.armed)
    if (this.slow > 0) {
      this.slow--
      this.stop(20 + this.chance(200))
    } else if (cells[Cell.replays] !== 0) {
      const target = this.scripted()
      if (target >= 0 && target !== this.seat && this.canRun(target)) this.handOver(target)
    } else if (--cells[Cell.countdown]! <= 0 || this.outranked) {
      this.preempt()
    }
  }

  /** Another process has been woken. */
  rang(seat: number): void {
    const { cells, priority } = this.world
    this.outranked = cells[Cell.policy] !== 0 && priority[seat]! > priority[this.seat]!
  }

  /** Tells what this process is at. */
  enter(phase: Phase): void {
    if (phase === this.phase) return
    this.world.phase[this.seat] = phases.indexOf(phase)
    for (const entry of this.faults) {
      if (entry.fault.phase !== phase || --entry.left !== 0 || this.armed !== undefined) continue
      this.armed = entry.fault
      this.delay = entry.fault.after
    }
  }

  /** Stands still for so many microseconds. */
  stop(micros: number): void {
    const { lifeOf, sick, until } = this.world
    until[this.seat] = this.now + micros
    sick[lifeOf[this.seat]!] = this.now + micros
    this.giveWay()
  }

  /** Sleeps until something rings, mail has come or the time is reached. */
  sleep(timer: number): void {
    if (this.unwinding !== undefined) throw this.unwinding
    const { operations, status, timer: timers } = this.world
    operations[this.seat]!++
    const { phase } = this
    this.enter("asleep")
    status[this.seat] = Status.asleep
    timers[this.seat] = timer
    this.note("sleep", 0, 0, Number.isFinite(timer) ? timer : -1, 0)
    if (this.armed !== undefined) this.strike(this.armed)
    this.giveWay()
    status[this.seat] = Status.running
    this.world.phase[this.seat] = phases.indexOf(phase)
    this.note("wake", 0, 0, 0, 0)
  }

  /** Something is not as it was promised. */
  fail(issue: string): never {
    const { cells } = this.world
    if (cells[Cell.failed] === 0) {
      cells[Cell.failed] = 1
      this.world.putText(failureText, issue)
    }
    return this.end()
  }

  /** The run is over: hands the baton to the first seat, and throws. */
  private end(): never {
    this.world.cells[Cell.over] = 1
    this.unwinding = new Unwinding("over")
    if (this.seat !== 0) this.pass(0)
    throw this.unwinding
  }

  /** For a thread that has no process: waits until it has one. */
  rest(): void {
    if (!this.holding) this.awaitBaton()
  }

  /** This seat's process has ended by itself or by a fault: others go on. */
  leave(): void {
    const { cells, status } = this.world
    status[this.seat] = Status.dead
    const to = this.nextRunner()
    if (to < 0) cells[Cell.over] = 1
    if (to !== this.seat && !(to < 0 && this.seat === 0)) this.pass(Math.max(to, 0))
  }

  private strike(fault: Fault): void {
    this.armed = undefined
    this.world.fired[fault.id] = 1
    this.cover(fault.kind, this.seat)
    this.note("fault", 0, faults.indexOf(fault.kind), fault.micros, phases.indexOf(this.phase))
    if (fault.kind === "freeze") return this.stop(fault.micros)
    if (fault.kind === "slow") return void (this.slow = 10 + fault.variant % 90)
    this.settle()
    if (fault.kind === "scribble") scribble(this.world, this.seat, fault.variant)
    this.unwinding = new Unwinding(fault.kind)
    throw this.unwinding
  }

  /** Counts a fault by what its victim is at. */
  cover(kind: FaultKind, seat: number): void {
    const { coverage, phase } = this.world
    coverage[((seat === 0 ? 0 : 1) * faults.length + faults.indexOf(kind)) * phases.length + phase[seat]!]!++
  }

  note(operation: Operation, file: number, at: number, first: number, second: number): void {
    if (!this.isTraced) return
    const { cells, clock, traces } = this.world
    const index = (cells[Cell.traced]!++ % tracesKept) * traceWords
    traces[index] = operations.indexOf(operation)
    traces[index + 1] = this.seat
    traces[index + 2] = file
    traces[index + 3] = at
    traces[index + 4] = first
    traces[index + 5] = second
    traces[index + 6] = clock[0]! * 10
  }

  private canRun(seat: number): boolean {
    const { clock, mail, rung, status, timer, until } = this.world
    if (until[seat]! > clock[0]!) return false
    const state = status[seat]
    return state === Status.running || (state === Status.asleep && (rung[seat] !== 0 || mail[seat] !== 0 || timer[seat]! <= clock[0]!))
  }

  private preempt(): void {
    const { cells } = this.world
    if (this.outranked) {
      this.outranked = false
    } else if (cells[Cell.policy] === 0) {
      cells[Cell.countdown] = 1 + Math.floor(-Math.log((1 + this.draw(65_535)) / 65_536) * cells[Cell.rate]!)
    } else {
      cells[Cell.countdown] = 1 + this.draw(cells[Cell.rate]! * 20)
      this.world.priority[this.seat] = --cells[Cell.lowest]!
    }
    const to = this.choose()
    if (to < 0 || to === this.seat) return
    this.decide(to)
    this.handOver(to)
  }

  /** One of those that can run, by this run's policy; −1 if there is none. */
  private choose(): number {
    const able: Array<number> = []
    for (let seat = 0; seat < seats; seat++) if (this.canRun(seat)) able.push(seat)
    if (able.length === 0) return -1
    if (this.world.cells[Cell.policy] === 0) return able[this.draw(able.length)]!
    const { priority } = this.world
    return able.reduce((best, seat) => priority[seat]! > priority[best]! ? seat : best)
  }

  private decide(to: number): void {
    const { cells, decisions, operations } = this.world
    if (cells[Cell.decided]! >= decisionsKept) return
    const at = cells[Cell.decided]!++ * decisionWords
    decisions[at] = this.seat
    decisions[at + 1] = operations[this.seat]!
    decisions[at + 2] = to
  }

  private isPast(index: number): boolean {
    const { operations, script } = this.world
    return script[index * decisionWords] !== this.seat || script[index * decisionWords + 1]! < operations[this.seat]!
  }

  /** Whom the script lets run at this operation; −1 if it says nothing. */
  private scripted(): number {
    const { cells, operations, script } = this.world
    const count = cells[Cell.scripted]!
    while (this.next < count && this.isPast(this.next)) this.next++
    const at = this.next * decisionWords
    if (this.next >= count || script[at + 1] !== operations[this.seat]) return -1
    this.next++
    return script[at + 2]!
  }

  /** This process cannot go on: another runs, or time passes. */
  private giveWay(): void {
    const to = this.nextRunner()
    if (to < 0) this.end()
    this.handOver(to)
  }

  /** Who runs next, now that this process does not; −1 if the run is over. */
  private nextRunner(): number {
    const { cells } = this.world
    for (;;) {
      if (cells[Cell.replays] !== 0) {
        const target = this.scripted()
        if (target >= 0 && this.canRun(target)) return target
        for (let step = 1; step <= seats; step++) {
          const seat = (this.seat + step) % seats
          if (this.canRun(seat)) return seat
        }
      } else {
        const to = this.choose()
        if (to >= 0) {
          this.decide(to)
          return to
        }
      }
      const issue = this.watch?.quiet()
      if (issue !== undefined) this.fail(issue)
      if (!this.leap() && this.watch?.rest() !== true) return -1
    }
  }

  /** To the next moment at which anybody can run; whether there is one. */
  private leap(): boolean {
    const { clock, mail, rung, status, timer, until } = this.world
    let at = Infinity
    for (let seat = 0; seat < seats; seat++) {
      if (status[seat] === Status.running) at = Math.min(at, until[seat]!)
      else if (status[seat] === Status.asleep) {
        at = Math.min(at, rung[seat] !== 0 || mail[seat] !== 0 ? until[seat]! : Math.max(until[seat]!, timer[seat]!))
      }
    }
    if (at === Infinity) return false
    clock[0] = Math.max(clock[0]!, at)
    this.note("leap", 0, 0, 0, 0)
    return true
  }

  private handOver(to: number): void {
    if (to === this.seat) return
    this.pass(to)
    this.awaitBaton()
    const { cells } = this.world
    if (cells[Cell.over] === 0 && cells[Cell.turn] === this.turn) return
    this.unwinding = new Unwinding("over")
    throw this.unwinding
  }

  private pass(to: number): void {
    const { batons, cells } = this.world
    cells[Cell.switches]!++
    this.note("switch", 0, to, 0, 0)
    this.holding = false
    Atomics.store(batons, baton(to), 1)
    Atomics.notify(batons, baton(to), 1)
  }

  private awaitBaton(): void {
    const { batons } = this.world
    const mine = baton(this.seat)
    while (Atomics.load(batons, mine) === 0) Atomics.wait(batons, mine, 0)
    Atomics.store(batons, mine, 0)
    this.holding = true
  }
}

const mix = (state: number): number => {
  let mixed = Math.imul(state ^ (state >>> 15), state | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return (mixed ^ (mixed >>> 14)) >>> 0
}
