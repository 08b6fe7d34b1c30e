/** The shipped ring and doorbell in simulated processes: see `simulation/simulation.ts`. */
import { assert, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { add, type Coverage, pairs } from "./simulation/coverage.ts"
import { mutants } from "./simulation/mutants.ts"
import { report } from "./simulation/report.ts"
import { make, type Simulation } from "./simulation/simulation.ts"

/** Two simulations, on a processor each. */
class Simulations extends Context.Service<Simulations, readonly [Simulation, Simulation]>()("test/Simulations") {
  static layer = Layer.effect(Simulations, Effect.all([make({ mutants }), make({ index: 1, mutants })], { concurrency: 2 }))
}

/** What is to be done, by whichever simulation has time for it. */
const share = <A, B>(list: ReadonlyArray<A>, each: (simulation: Simulation, item: A) => Effect.Effect<B>) =>
  Effect.gen(function*() {
    const left = [...list]
    const done: Array<B> = []
    const work = Effect.fnUntraced(function*(simulation: Simulation) {
      for (let item = left.shift(); item !== undefined; item = left.shift()) done.push(yield* each(simulation, item))
    })
    yield* Effect.forEach(yield* Simulations, work, { concurrency: 2, discard: true })
    return done
  })

/** The fewest in which every fault meets a process at everything; `simulate` runs more. */
const seeds = 1200
/** Within which a bug must be found. */
const most = 2000
const together = 50

layer(Simulations.layer, { timeout: 60_000 })("the ring and the doorbell, simulated", (it) => {
  it.effect(
    `RG-1 RG-2 RG-3 DB-1 MQ-1 MQ-3 MQ-4: ${seeds} runs of a driver and its ranks, preempted at any operation, killed, stopped, slowed, gone mad, `
      + "lapped and replaced, lose, double and reorder nothing, overwrite nothing unread, and nobody sleeps who has something to do",
    () =>
      Effect.gen(function*() {
        const begins = Array.from({ length: seeds / together }, (_, index) => index * together)
        const counts = yield* share(begins, (simulation, from) =>
          Effect.gen(function*() {
            const { coverage, failed } = yield* simulation.seeds({ from, count: together, stopsEarly: true })
            for (const { seed } of failed) assert.fail(report(yield* simulation.run(seed)).join("\n"))
            return coverage
          }))
        // Every fault has met a process at everything that it can be at. A driver is neither lapped nor replaced, and seldom goes mad.
        const met = pairs(counts.reduce<Coverage>(add, []))
        const missed = met.filter(({ count, fault, phase, role }) =>
          count === 0 && phase !== "starting" && (role === "worker" || ["kill", "freeze", "slow"].includes(fault))
        )
        assert.deepStrictEqual(missed, [])
      }),
    300_000
  )

  it.effect("a seed is the same run each time, whatever ran before it and in whichever threads", () =>
    Effect.gen(function*() {
      const [one, other] = yield* Simulations
      for (const seed of [1, 2]) assert.deepStrictEqual(yield* one.run(seed), yield* other.run(seed))
    }))

  it.effect(
    `each bug that is put in on purpose is found within ${most} seeds`,
    () =>
      Effect.gen(function*() {
        const found = yield* share([...mutants.entries()], (simulation, [index, { name, seed, shows }]) =>
          Effect.gen(function*() {
            const variant = index + 1
            const { failed: [first] } = yield* simulation.seeds({ from: seed, count: 1, variant })
            const { failed: [found] } = first === undefined
              ? yield* simulation.seeds({ from: 0, count: most, variant, stopsEarly: true })
              : { failed: [first] }
            if (found === undefined) return `not found: ${name}`
            // A run that fails of something else has not found it.
            return shows.test(found.issue) ? name : `${name}: ${found.issue}`
          }))
        assert.deepStrictEqual(found.sort(), mutants.map(({ name }) => name).sort())
      }),
    300_000
  )

  it.effect("a failure is made smaller, fails again for the same reason, and is told event by event", () =>
    Effect.gen(function*() {
      const [simulation] = yield* Simulations
      const variant = 1 + mutants.findIndex(({ name }) => name === "the parked word is taken down before the bell is rung")
      const { failed: [found] } = yield* simulation.seeds({ from: mutants[variant - 1]!.seed, count: most, variant, stopsEarly: true })
      const { failure, trace } = yield* simulation.run(found!.seed, variant)
      const { issue, plan, script } = failure!.shrunk
      assert.match(failure!.issue, /^a wake-up was lost/)
      assert.match(issue, /^a wake-up was lost/)
      // Somebody is stopped before it has rung, and that is all it takes.
      assert.strictEqual(plan.faults.length, 1)
      assert.isBelow(plan.messages.filter(({ ranks }) => ranks.length > 0).length, 10)
      assert.isBelow(script.length, 30)
      assert.isAbove(trace.length, 5)
    }))
})
