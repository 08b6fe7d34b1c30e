/**
 * Simulations of the ring and the doorbell. The shipped code runs unchanged in a few threads, one for each process, over memory on which every
 * operation may hand the turn to another thread; which one follows from a seed, as do the messages that are sent and what goes wrong meanwhile.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Worker } from "node:worker_threads"
import type { Mutant } from "./mutants.ts"
import { processors } from "./processors.ts"
import type { Answer, Ask, Given, Outcome, Tally } from "./protocol.ts"
import { type Sources, sources } from "./variants.ts"
import { Cell, seats, World } from "./world.ts"

export interface Simulation {
  /**
   * Runs so many seeds, and stops at the first failure if asked to. Variant 0 is the shipped code, the others are the mutants that the
   * simulation was made with, in their order.
   */
  readonly seeds: (options: {
    readonly from: number
    readonly count: number
    readonly variant?: number
    readonly stopsEarly?: boolean
  }) => Effect.Effect<Tally>
  /** Runs one seed; if it fails makes it smaller, and tells what happened in the smallest run that still fails. */
  readonly run: (seed: number, variant?: number) => Effect.Effect<Outcome>
}

/** How long a run may take, in seconds, before the program that has it is told which one stands still. */
const patience = 120

const messageOf = (thread: Worker): Effect.Effect<unknown> =>
  Effect.callback((resume) => void thread.once("message", (message) => resume(Effect.succeed(message))))

/** Threads on one of this machine's processors, chosen by `index`; they end with the scope. */
export const make = Effect.fnUntraced(function*(options?: {
  readonly index?: number | undefined
  readonly mutants?: ReadonlyArray<Mutant> | undefined
}): Effect.fn.Return<Simulation, never, Scope.Scope> {
  const world = new World()
  const able = processors()
  const processor = able[(options?.index ?? 0) % Math.max(1, able.length)]
  const mutants = options?.mutants ?? []
  const mutable: Sources = mutants.length === 0 ? new Map() : sources()
  const start = (seat: number): Worker => {
    const given: Given = { buffer: world.buffer, seat, processor, variants: [undefined, ...mutants], sources: mutable }
    return new Worker(new URL("./thread.ts", import.meta.url), { workerData: given, execArgv: [] })
  }
  const threads = yield* Effect.acquireRelease(
    Effect.sync(() => Array.from({ length: seats }, (_, seat) => start(seat))),
    (threads) => Effect.promise(() => Promise.all(threads.map((thread) => thread.terminate())))
  )
  const [first] = threads as [Worker]
  const broken = Deferred.makeUnsafe<never>()
  for (const thread of threads) thread.once("error", (cause) => Deferred.doneUnsafe(broken, Effect.die(cause)))
  yield* Effect.raceFirst(Effect.forEach(threads, messageOf, { concurrency: "unbounded" }), Deferred.await(broken))

  let answer = Deferred.makeUnsafe<unknown>()
  let asked = 0
  // Whoever asked before this may have been interrupted.
  first.on("message", ({ id, said }: Answer) => id === asked && Deferred.doneUnsafe(answer, Effect.succeed(said)))
  let last = -1
  const look = setInterval(() => {
    const run = Atomics.load(world.cells, Cell.turn)
    if (run === last) Deferred.doneUnsafe(answer, Effect.die(new Error(`seed ${Atomics.load(world.seed, 0)} stands still`)))
    last = run
  }, patience * 1000)
  look.unref()
  yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(look)))
  const ask = (what: Ask): Effect.Effect<unknown> =>
    Effect.suspend(() => {
      answer = Deferred.makeUnsafe()
      last = -1
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that rule means windows
      first.postMessage([++asked, what])
      return Effect.raceFirst(Deferred.await(answer), Deferred.await(broken))
    })

  return {
    seeds: ({ count, from, stopsEarly = false, variant = 0 }) =>
      Effect.map(ask({ kind: "seeds", from, count, variant, stopsEarly }), (answer) => answer as Tally),
    run: (seed, variant = 0) => Effect.map(ask({ kind: "run", seed, variant }), (answer) => answer as Outcome)
  }
})
