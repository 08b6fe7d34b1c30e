/** The event loop of a simulated process: immediates, timers, its doorbell, and the mail by which the simulation speaks to it. */
import type { Accesses } from "./memory.ts"

interface Timer {
  readonly at: number
  readonly run: () => void
}

export class Loop {
  readonly onRing: Array<() => void> = []
  onMail: () => void = () => {}
  /** What comes from outside of the machine: when the next of it is due, and what to do then. */
  outside = { due: () => Infinity, run: () => {} }
  private readonly accesses: Accesses
  private immediates: Array<() => void> = []
  private timers: Array<Timer> = []
  private stopped = false

  constructor(accesses: Accesses) {
    this.accesses = accesses
  }

  /** Microseconds. */
  get now(): number {
    return this.accesses.scheduler.now
  }

  /** Reading the clock is an operation, too: whoever does nothing else still sees time pass. */
  readClock(): number {
    this.accesses.scheduler.step()
    return this.now
  }

  soon(run: () => void): () => void {
    this.immediates.push(run)
    return run
  }

  /** At a moment, in microseconds. */
  at(at: number, run: () => void): Timer {
    const timer = { at, run }
    let index = this.timers.length
    while (index > 0 && this.timers[index - 1]!.at > at) index--
    this.timers.splice(index, 0, timer)
    return timer
  }

  cancel(timer: unknown): void {
    this.timers = this.timers.filter((other) => other !== timer)
  }

  stop(): void {
    this.stopped = true
  }

  /** Until `stop`. */
  run(): void {
    const { scheduler, world } = this.accesses
    const { mail, rung } = world
    const { seat } = scheduler
    while (!this.stopped) {
      scheduler.step()
      while (!this.stopped && this.timers.length > 0 && this.timers[0]!.at <= this.now) this.timers.shift()!.run()
      if (this.outside.due() <= this.now) this.outside.run()
      if (mail[seat] !== 0) {
        mail[seat] = 0
        this.onMail()
      }
      if (rung[seat] !== 0) {
        rung[seat] = 0
        for (const onRing of this.onRing) onRing()
      }
      const due = this.immediates.splice(0)
      for (const run of due) if (!this.stopped) run()
      if (this.stopped || this.immediates.length > 0 || mail[seat] !== 0 || rung[seat] !== 0) continue
      this.accesses.settle()
      scheduler.sleep(Math.min(this.outside.due(), this.timers[0]?.at ?? Infinity))
    }
  }
}

let current: Loop | undefined

/** Whose clock, timers and immediates this thread's code has. */
export const use = (loop: Loop | undefined): void => {
  current = loop
}

/** Puts the simulation's clock, timers and immediates in the place of this thread's. */
export const install = (): void => {
  const timers = {
    setImmediate: (run: () => void) => current!.soon(run),
    clearImmediate: () => {},
    setTimeout: (run: () => void, millis: number) => current!.at(current!.now + millis * 1000, run),
    clearTimeout: (timer: unknown) => current?.cancel(timer)
  }
  Object.assign(globalThis, timers)
  const now = performance.now.bind(performance)
  performance.now = () => current === undefined ? now() : current.readClock() / 1000
}
