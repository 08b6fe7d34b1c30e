/** What happens in one run: which messages are sent when, and what goes wrong. All of it follows from a seed, and all of it can be made smaller. */
import { random } from "../fixtures/random.ts"
import { type FaultKind, lives, messages, type Phase, phases } from "./world.ts"

export interface Message {
  /** Microseconds from the start. */
  readonly at: number
  /** A connection anew while the former incarnation may still run is a message, too: it is what the driver does. */
  readonly kind: "request" | "control" | "replace"
  readonly ranks: ReadonlyArray<number>
  readonly bytes: number
  /** Bytes of each rank's answer to a request; −1: none. */
  readonly answer: number
}

export interface Fault {
  readonly id: number
  readonly kind: Exclude<FaultKind, "lap" | "replace">
  /** A rank, or −1 for the driver. */
  readonly rank: number
  /** It comes when its victim is at this for the `nth` time, `after` so many more operations. */
  readonly phase: Phase
  readonly nth: number
  readonly after: number
  readonly micros: number
  readonly variant: number
}

export interface Plan {
  readonly seed: number
  readonly ranks: number
  readonly ringBytes: number
  readonly laneBytes: number
  /** Microseconds that a process looks before it parks. */
  readonly spin: number
  readonly isWeak: boolean
  /** 0: whoever runs next is drawn; 1: by priorities that change at a few moments. */
  readonly policy: 0 | 1
  /** Operations between two preemptions, about. */
  readonly rate: number
  readonly messages: ReadonlyArray<Message>
  /** Exchanges of every rank with every other. */
  readonly rounds: number
  readonly faults: ReadonlyArray<Fault>
  /** Whether a rank that died is connected again. */
  readonly restarts: boolean
  /** Whether workers leave before the driver closes. */
  readonly workersLeave: boolean
}

const messageOf = (next: (bound: number) => number, ranks: number, at: number, isHeavy: boolean): Message => {
  const every = Array.from({ length: ranks }, (_, rank) => rank)
  const named = next(4) === 0 ? every : every.filter(() => next(3) > 0)
  const size = isHeavy ? next(6) : next(16)
  const bytes = size === 0 ? 1024 + next(4000) : size < 4 ? 300 + next(700) : next(150)
  if (next(8) === 0) return { at, kind: "control", ranks: [next(ranks)], bytes: next(12) === 0 ? next(2000) : next(120), answer: -1 }
  const answer = next(6) === 0 ? -1 : next(14) === 0 ? 1024 + next(2500) : next(100)
  return { at, kind: "request", ranks: named.length === 0 ? [next(ranks)] : named, bytes, answer }
}

const kindOf = (next: (bound: number) => number): Fault["kind"] => {
  const kind = next(10)
  return kind < 3 ? "kill" : kind < 7 ? "freeze" : kind < 9 ? "slow" : "scribble"
}

const faultOf = (next: (bound: number) => number, id: number, ranks: number, isHeavy: boolean): Fault => {
  const kind = kindOf(next)
  const isDrivers = next(kind === "kill" || kind === "scribble" ? 16 : 4) === 0
  const durations = isHeavy ? [60_000, 80_000, 150_000] : [50, 1000, 20_000, 60_000, 200_000]
  return {
    id,
    kind,
    rank: isDrivers ? -1 : next(ranks),
    phase: phases[1 + next(phases.length - 1)]!,
    nth: 1 + next(next(2) === 0 ? 3 : 12),
    after: next(2) === 0 ? 0 : next(8),
    micros: durations[next(durations.length)]!,
    variant: next(1 << 16)
  }
}

/** The plan of a seed. */
export const planOf = (seed: number): Plan => {
  const next = random(seed * 2 + 1)
  const ranks = next(4) === 0 ? 4 : 3
  // Much is sent while somebody stands still: that laps.
  const isHeavy = next(3) === 0
  const gaps = isHeavy ? [0, 50, 2000, 10_000] : [0, 0, 0, 5, 50, 2000, 30_000]
  const list: Array<Message> = []
  let at = 100
  for (let left = 18 + next(20); left > 0;) {
    at += gaps[next(gaps.length)]!
    // Bursts fill the ring.
    for (let burst = next(5) === 0 ? 4 + next(12) : 1; burst > 0 && left > 0; burst--, left--) {
      list.push(messageOf(next, ranks, at, isHeavy))
    }
  }
  const planned = Array.from({ length: 3 + next(4) }, (_, id) => faultOf(next, id, ranks, isHeavy))
  const replaced = next(4) === 0 ? list[next(list.length)] : undefined
  if (replaced !== undefined) list.splice(list.indexOf(replaced), 0, { ...replaced, kind: "replace", ranks: [next(ranks)] })
  const policy = next(2) === 0 ? 0 : 1
  return {
    seed,
    ranks,
    ringBytes: 4096,
    laneBytes: 4096,
    spin: next(4) === 0 ? 30 : 0,
    isWeak: next(2) === 0,
    policy,
    rate: [4, 12, 40][next(3)]!,
    messages: list.slice(0, messages),
    rounds: next(3) === 0 ? 2 + next(6) : 0,
    faults: planned,
    restarts: next(2) === 0 && ranks + planned.length + 2 < lives,
    workersLeave: next(2) === 0
  }
}
