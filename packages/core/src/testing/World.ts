/**
 * A world without chance: its time is a number, and whose turn it is, is drawn from a seed. A process of a world runs Effect programs as they are, with
 * a scheduler and a clock of its own, on the one thread of whoever runs the world:
 *
 * ```ts
 * const world = World.make({ seed: 7 })
 * const process = world.process("a")
 * process.run(program)
 * world.run(() => process.fibers === 0)
 * ```
 *
 * - SI-1: a run is a function of its seed: the same turns, at the same times, with the same `hash`.
 * - SI-2: a turn is one task of one process; any process that has one may be next. Tasks of one fiber, and messages of one inbox, keep their order.
 * - SI-3: time passes only when nobody can do anything at this time.
 * - SI-4: a process that is stopped has no turns until it goes on, then all that it missed; one that has ended never has another, nor do its finalizers, and no time passes for its sleeps.
 *
 * What waits for something outside of the world (a promise, a timer of the platform) is not heard: it waits for ever, and the world says so.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Scheduler from "effect/Scheduler"
import * as agenda from "../internal/simulation/agenda.ts"
import * as Draw from "./Draw.ts"

/** What a world is made of. */
export interface Options {
  readonly seed: number
  /** How often a turn goes to whoever had the last one, 0 to 1. Default: drawn. */
  readonly stay?: number | undefined
  /** How often a fiber is made to yield in the midst of a turn, 0 to 1. Default: drawn. */
  readonly preempt?: number | undefined
}

/** Tasks that keep their order. */
export interface Inbox {
  readonly post: (task: () => void) => void
}

/** One event loop: fibers, timers and messages of their own. */
export interface Process {
  readonly name: string
  readonly state: "running" | "stopped" | "gone"
  /** What programs run with here: scheduler, clock and the count of fibers. */
  readonly context: Context.Context<never>
  /** Fibers that have begun here and have not ended. */
  readonly fibers: number
  /** Sleeps that have begun here and have not ended. */
  readonly timers: number
  /** Turns that it has had. */
  readonly turns: number
  /** Milliseconds that its turns have taken. */
  readonly spent: number
  readonly inbox: () => Inbox
  /** Runs a program in a turn of its own, and tells how it ended. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>, onExit?: (exit: Exit.Exit<A, E>) => void) => void
  /** No more turns, until `resume`. */
  readonly stop: () => void
  readonly resume: () => void
  /** How long each of its turns takes from now on, in milliseconds: 0 at first. */
  readonly slow: (millis: number) => void
  /** Ends it as a power cut would. */
  readonly end: () => void
}

/** How a run of a world came to its end: `stuck` when nobody will ever have a turn, `late` and `busy` when a limit of time or turns was met. */
export type Ending = "done" | "stuck" | "late" | "busy"

/** A world. */
export interface World {
  /** Milliseconds since it began. */
  readonly millis: number
  /** Turns so far. */
  readonly turns: number
  /** Of all turns so far, and of what was `mark`ed. */
  readonly hash: string
  /** Whose turn it is. */
  readonly current: Process | undefined
  /** What went wrong in a turn itself: exceptions that a task threw. */
  readonly thrown: ReadonlyArray<string>
  readonly draw: Draw.Draw
  readonly process: (name: string) => Process
  /** Does something in so many milliseconds, in nobody's turn. */
  readonly after: (millis: number, task: () => void) => void
  /** Makes a number part of the hash. */
  readonly mark: (number: number) => void
  /** Moves the time of day that every process reads; what sleeps does not notice, nor does `Clock.monotonicTimeNanos`. */
  readonly jump: (millis: number) => void
  /** Gives turns until `done`. Limits are counted from the beginning of the world. Defaults: an hour, a million turns. */
  readonly run: (done: () => boolean, limits?: { readonly millis?: number | undefined; readonly turns?: number | undefined }) => Ending
}

/** The time of day at which every world begins: the first of January 2026. */
const beginning = Date.UTC(2026, 0, 1)
/** What Effect gives a fiber before it must yield. */
const ordinary = 2048

/** Makes a world. */
export const make = (options: Options): World => {
  const draw = Draw.make(options.seed, "turns")
  const stay = options.stay ?? draw.pick([0, 0, 0.5, 0.9])
  const preempt = options.preempt ?? draw.pick([0, 0, 0.02, 0.2])
  const events = agenda.make()
  /** Who has a task and may have a turn. */
  const able: Array<Loop> = []
  const thrown: Array<string> = []
  let now = 0
  let offset = 0
  let turns = 0
  let hash = 0x811c9dc5
  let processes = 0
  let current: Loop | undefined
  /** Operations after which a fiber yields in this turn. */
  let patience = ordinary

  const mark = (number: number): void => {
    hash = Math.imul(hash ^ number, 0x01000193)
  }
  const at = (time: number, task: () => void): agenda.Entry => events.add(time, task)

  class Queue implements Inbox, Scheduler.SchedulerDispatcher {
    readonly tasks: Array<() => void> = []
    readonly loop: Loop
    constructor(loop: Loop) {
      this.loop = loop
    }
    post(task: () => void): void {
      if (this.loop.state === "gone") return
      if (this.tasks.push(task) === 1) this.loop.ready(this)
    }
    scheduleTask(task: () => void): void {
      this.post(task)
    }
    flush(): void {
      while (this.tasks.length > 0) this.take()()
    }
    take(): () => void {
      const task = this.tasks.shift()!
      if (this.tasks.length === 0) this.loop.waiting.splice(this.loop.waiting.indexOf(this), 1)
      return task
    }
  }

  class Loop implements Process, Scheduler.Scheduler {
    readonly name: string
    readonly number: number
    readonly executionMode = "async"
    readonly context: Context.Context<never>
    readonly waiting: Array<Queue> = []
    readonly due: Queue
    /** What it will be woken by. */
    readonly sleeps = new Set<agenda.Entry>()
    state: "running" | "stopped" | "gone" = "running"
    fibers = 0
    timers = 0
    turns = 0
    spent = 0
    /** Microseconds that a turn takes. */
    pace = 0
    busy = false

    constructor(name: string) {
      this.name = name
      this.number = processes++
      this.due = new Queue(this)
      this.context = Context.make(Scheduler.Scheduler, this as Scheduler.Scheduler).pipe(
        Context.add(Clock.Clock, makeClock(this)),
        Context.add(Metric.FiberRuntimeMetrics, {
          recordFiberStart: () => void this.fibers++,
          recordFiberEnd: () => void this.fibers--
        })
      ) as Context.Context<never>
    }

    shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
      if (fiber.currentOpCount < patience) return false
      patience = ordinary
      return true
    }
    makeDispatcher(): Queue {
      return new Queue(this)
    }
    inbox(): Inbox {
      return new Queue(this)
    }
    ready(queue: Queue): void {
      this.waiting.push(queue)
      this.check()
    }
    /** Puts it among those who may have a turn, or takes it out. */
    check(): void {
      const may = this.waiting.length > 0 && this.state === "running" && !this.busy
      const place = able.indexOf(this)
      if (may && place < 0) able.push(this)
      else if (!may && place >= 0) able.splice(place, 1)
    }
    turn(): void {
      const queue = this.waiting.length === 1 ? this.waiting[0]! : draw.pick(this.waiting)
      const task = queue.take()
      this.turns++
      mark(this.number)
      patience = preempt > 0 && draw.chance(preempt) ? draw.between(1, 60) : ordinary
      try {
        task()
      } catch (cause) {
        thrown.push(`${this.name}: ${cause instanceof Error ? cause.stack ?? cause.message : String(cause)}`)
      }
      if (this.pace > 0 && this.state !== "gone") {
        this.busy = true
        this.spent += this.pace / 1000
        at(now + this.pace, () => {
          this.busy = false
          this.check()
        })
      }
      this.check()
    }
    run<A, E>(effect: Effect.Effect<A, E>, onExit?: (exit: Exit.Exit<A, E>) => void): void {
      this.inbox().post(() => {
        const fiber = Effect.runForkWith(this.context)(effect)
        if (onExit !== undefined) fiber.addObserver(onExit)
      })
    }
    stop(): void {
      if (this.state === "running") this.state = "stopped"
      this.check()
    }
    resume(): void {
      if (this.state === "stopped") this.state = "running"
      this.check()
    }
    slow(millis: number): void {
      this.pace = Math.round(millis * 1000)
    }
    end(): void {
      this.state = "gone"
      for (const queue of this.waiting.splice(0)) queue.tasks.length = 0
      for (const entry of this.sleeps) events.cancel(entry)
      this.sleeps.clear()
      this.check()
    }
  }

  const makeClock = (loop: Loop): Clock.Clock => {
    const currentTimeMillisUnsafe = () => beginning + Math.floor((now + offset) / 1000)
    const currentTimeNanosUnsafe = () => BigInt(beginning) * 1_000_000n + BigInt(now + offset) * 1000n
    const monotonicTimeNanosUnsafe = () => BigInt(now) * 1000n
    return {
      currentTimeMillisUnsafe,
      currentTimeNanosUnsafe,
      monotonicTimeNanosUnsafe,
      currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
      currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
      monotonicTimeNanos: Effect.sync(monotonicTimeNanosUnsafe),
      sleep: (duration) => {
        const millis = Duration.toMillis(duration)
        if (millis <= 0) return Effect.yieldNow
        if (!Number.isFinite(millis)) return Effect.never
        return Effect.callback<void>((resume) => {
          loop.timers++
          let waits = true
          const over = (): boolean => {
            if (!waits) return false
            waits = false
            loop.timers--
            loop.sleeps.delete(entry)
            return true
          }
          const entry = at(now + Math.max(1, Math.round(millis * 1000)), () => loop.due.post(() => over() && resume(Effect.void)))
          loop.sleeps.add(entry)
          return Effect.sync(() => {
            if (over()) events.cancel(entry)
          })
        })
      }
    }
  }

  return {
    get millis() {
      return now / 1000
    },
    get turns() {
      return turns
    },
    get hash() {
      return (hash >>> 0).toString(16).padStart(8, "0")
    },
    get current() {
      return current
    },
    thrown,
    draw,
    process: (name) => new Loop(name),
    after: (millis, task) => void at(now + Math.max(0, Math.round(millis * 1000)), task),
    mark,
    jump: (millis) => {
      offset += Math.round(millis * 1000)
    },
    run: (done, limits) => {
      const last = (limits?.millis ?? 3_600_000) * 1000
      const most = limits?.turns ?? 1_000_000
      let former: Loop | undefined
      while (!done()) {
        if (able.length > 0) {
          if (++turns > most) return "busy"
          former = stay > 0 && former !== undefined && able.includes(former) && draw.chance(stay) ? former : draw.pick(able)
          current = former
          former.turn()
          current = undefined
          continue
        }
        const next = events.next()
        if (next === undefined) return "stuck"
        if (next > last) return "late"
        if (next !== now) {
          now = next
          mark(now)
        }
        // Everything that is due at one time is due before anyone has a turn.
        while (events.next() === now) events.take()()
      }
      return "done"
    }
  }
}
