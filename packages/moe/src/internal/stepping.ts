/**
 * Drives the ranks step by step: publishes plans, gives replies on, gets over losses, and has whatever is to be done between two steps done there.
 */
import * as Capacity from "@phalanx/elastic/Capacity"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type { Step } from "../Generator.ts"
import type { Plan, Slots, StepReply } from "../Moe.ts"
import type { Ranks } from "../Ranks.ts"
import type { Scheduler } from "../Scheduler.ts"
import type { Seating } from "../Seating.ts"
import * as loss from "./loss.ts"
import * as placing from "./placing.ts"

export interface Options {
  readonly ranks: Ranks["Service"]
  readonly scheduler: Scheduler
  readonly slots: Slots
  /** Steps that are out at once. */
  readonly depth: number
  /** A step has come to its end on all ranks. */
  readonly landed: (plan: Plan, step: Step) => void
}

interface Flight {
  readonly plan: Plan
  readonly rows: number
  readonly planned: number
  readonly published: number
  readonly fiber: Fiber.Fiber<ReadonlyArray<StepReply>, loss.StepError>
}

/** Who owns requests, by coordinate of `dp`: the member ids of the first of each `tp`. */
const ownersOf = (ranks: Ranks["Service"]): ReadonlyArray<number> =>
  ranks.workers.filter((_, rank) => rank % ranks.mesh.shape.tp === 0).map(({ id }) => id)

const membersOf = (ranks: Ranks["Service"]): ReadonlyArray<number> => ranks.workers.map(({ id }) => id)

/** Which life of each member it is. */
const livesOf = (ranks: Ranks["Service"]): ReadonlyMap<number, number> =>
  new Map(ranks.workers.map(({ id, incarnation }) => [id, incarnation]))

/** The experts that lost members had go to those who have fewest. */
const withoutLost = (slots: Slots, before: ReadonlyArray<number>, after: ReadonlyArray<number>) =>
  Effect.map(placing.next({ slots, before, after, capacity: Capacity.fit }), ({ to }) => to.layers)

const found = (index: number): number | undefined => index === -1 ? undefined : index

export const make = ({ depth, landed, ranks, scheduler, ...options }: Options) => {
  let { slots } = options
  let owners = ownersOf(ranks)
  let members = membersOf(ranks)
  let lives = livesOf(ranks)
  const flights: Array<Flight> = []
  const work = Latch.makeUnsafe(false)

  const land = Effect.fnUntraced(function*() {
    const { fiber, plan, planned, published, rows } = flights.shift()!
    const replies = yield* Fiber.join(fiber)
    losses = 0
    landed(plan, { step: plan.step, rows, planned, published, replied: performance.now(), replies })
  })

  const reseat: Seating["reseat"] = (to, homes) => {
    const now = ownersOf(ranks)
    scheduler.resize(now.length, owners.map((owner) => found(now.indexOf(owner))), homes)
    owners = now
    members = membersOf(ranks)
    lives = new Map([...livesOf(ranks)].map(([id, incarnation]) => [id, lives.get(id) ?? incarnation]))
    slots = to
  }

  // ------------------------------------------------------------------------------------------------ losses
  /** A rank was lost. If the group goes on, so do its requests: where their owner still has them from what it holds, else from their bytes so far. */
  const recover = Effect.gen(function*() {
    yield* Fiber.interruptAll(flights.splice(0).map(({ fiber }) => fiber))
    const present = livesOf(ranks)
    const now = membersOf(ranks)
    if (now.join() !== members.join()) reseat(yield* withoutLost(slots, members, now), new Map())
    const missing = yield* ranks.call.recover({ parts: scheduler.kept(), slots })
    scheduler.rollBack(new Set(missing.flat()))
    lives = present
  })
  /** A rank was lost while no step was out that could have failed for it. */
  const isLost = (): boolean =>
    members.length !== ranks.workers.length || ranks.workers.some(({ id, incarnation }) => lives.get(id) !== incarnation)
  /** Since a step was last whole. */
  let losses = 0
  const goOn = (error: loss.StepError): Effect.Effect<void, unknown> =>
    loss.isLoss(error) && ++losses <= loss.most ? recovered : Effect.fail(error)
  const recovered: Effect.Effect<void, unknown> = Effect.catch(
    Effect.raceFirst(ranks.failure, recover),
    (next) => next._tag === "CallError" ? goOn(next) : Effect.fail(next)
  )

  // ------------------------------------------------------------------------------------------------ between steps
  /** What is to be done between two steps. */
  const gaps: Array<Effect.Effect<void>> = []
  /** Tells whoever had something done there. They may have much to do then, so they hear of it when the next step's replies have been given on. */
  const news: Array<() => void> = []
  /** Those who wait until no step is out. */
  const resting: Array<() => void> = []
  const tell = (list: Array<() => void>): void => {
    for (const hear of list.splice(0)) hear()
  }
  const between = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.callback<A, E>((resume) => {
      let begun: Fiber.Fiber<A, E> | undefined
      const gap = Effect.gen(function*() {
        begun = yield* Effect.forkChild(effect, { startImmediately: true })
        const exit = yield* Fiber.await(begun)
        news.push(() => resume(exit))
      })
      gaps.push(gap)
      work.openUnsafe()
      return Effect.suspend(() => {
        const waits = gaps.indexOf(gap)
        if (waits !== -1) gaps.splice(waits, 1)
        return begun === undefined ? Effect.void : Fiber.interrupt(begun)
      })
    })

  let held = false
  const letGo = (): void => {
    held = false
    work.openUnsafe()
  }
  return {
    slots: () => slots,
    reseat,
    /** Interrupting it takes it back, or interrupts it. Its fiber ends before it where the steps end. */
    between,
    /** There is something to plan. */
    wake: (): void => void work.openUnsafe(),
    /** Makes no step, whatever there is to plan. */
    hold: (): void => void (held = true),
    letGo,
    /** Nobody waits for rest any more. */
    goOn: (): void => {
      letGo()
      tell(resting)
    },
    /** Waits until no step is out, and none can be made. */
    rest: Effect.callback<void>((resume) => {
      resting.push(() => resume(Effect.void))
      work.openUnsafe()
    }),
    /** Nobody waits any more. */
    over: (): void => tell(news),
    run: Effect.gen(function*() {
      while (true) {
        if (flights.length === 0 && isLost()) {
          yield* recovered
          continue
        }
        if (gaps.length > 0 && flights.length === 0) {
          yield* gaps.shift()!
          continue
        }
        const planned = performance.now()
        const plan = gaps.length === 0 && !held && flights.length < depth ? scheduler.plan() : undefined
        if (plan !== undefined) {
          const published = performance.now()
          const fiber = yield* Effect.forkChild(ranks.call.step(plan), { startImmediately: true })
          const rows = plan.parts.reduce((sum, part) => sum + part.run.reduce((n, { take }) => n + take, 0), 0)
          flights.push({ plan, rows, planned, published, fiber })
        } else if (flights.length > 0) {
          yield* Effect.catch(land(), goOn)
          tell(news)
        } else {
          work.closeUnsafe()
          tell(news)
          tell(resting)
          yield* work.await
        }
      }
    })
  }
}
