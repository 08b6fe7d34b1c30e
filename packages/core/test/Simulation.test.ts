import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Fault from "@phalanx/core/testing/Fault"
import * as Simulation from "@phalanx/core/testing/Simulation"
import * as Worker from "@phalanx/core/Worker"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

class Adder extends RpcGroup.make(Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int })) {}

type Group = WorkerGroup.WorkerGroup<typeof Adder, "rank">

/** Ranks that add; the tenth step is as given, and `check` judges. */
const simulation = (
  tenth: (group: Group) => Effect.Effect<unknown, unknown>,
  check?: (run: Simulation.Run<"rank">) => Iterable<string>
) =>
  Simulation.make("adding", {
    protocol: Adder,
    meshes: [Mesh.make({ rank: 4 })],
    smaller: [Mesh.make({ rank: 1 }), Mesh.make({ rank: 2 })],
    steps: 20,
    faults: 4,
    kinds: Fault.harmless,
    play: () => ({
      worker: Worker.make(
        Adder,
        Adder.toLayer(Effect.sync(() => {
          let total = 0
          return Adder.of({ add: ({ n }) => Effect.sync(() => total += n) })
        }))
      ),
      step: (_, index) => ({
        does: `adds ${index}`,
        run: (group) => index === 10 ? tenth(group) : group.call.add({ n: index })
      }),
      check
    })
  })

const sound = (group: Group) => group.call.add({ n: 10 })

describe("a simulation", () => {
  it("SI-1: a run that is run again is the same, and another seed's is another", () => {
    const hashes = Array.from({ length: 10 }, (_, seed) => {
      const { hash, violations } = Simulation.run(simulation(sound), seed)
      assert.deepStrictEqual(violations, [])
      assert.strictEqual(Simulation.run(simulation(sound), seed).hash, hash)
      return hash
    })
    assert.strictEqual(new Set(hashes).size, 10)
  })

  for (
    const [label, what, tenth] of [
      ["SI-5", "has not ended", () => Effect.never],
      ["SI-9", "fibers of the driver are left", () => Effect.forkDetach(Effect.never)],
      ["SI-9", "timers of the driver are left", () => Effect.forkDetach(Effect.sleep("1 day"))],
      ["SI-10", "died", () => Effect.die("a bug")]
    ] as const
  ) {
    it(`${label}: fails where something ${what}`, () => {
      const { violations } = Simulation.run(simulation(tenth), 1)
      assert.isTrue(violations.some((violation) => violation.startsWith(label) && violation.includes(what)), violations.join("\n"))
    })
  }

  it.effect("SI-12: a run that failed is made smaller, fails again the same way, and is told line by line", () =>
    Effect.gen(function*() {
      // Needs the tenth step, and somebody to be slow.
      const wrong = simulation(sound, function*({ faults, results }) {
        if (faults.some(({ fault }) => fault._tag === "Slow") && results.some(({ index }) => index === 10)) yield "ten is one too many"
      })
      const seed = Array.from({ length: 50 }, (_, seed) => seed).find((seed) => Simulation.run(wrong, seed).violations.length > 0)!
      const outcome = Simulation.run(wrong, seed)
      const least = Simulation.shrink(wrong, outcome)
      assert.deepStrictEqual([least.plan.steps, least.plan.faults.length], [[10], 1])
      assert.deepStrictEqual(least.violations, outcome.violations)
      const again = Simulation.run(wrong, seed, { plan: least.plan, tell: true })
      assert.deepStrictEqual([again.hash, again.violations], [least.hash, least.violations])
      const told = Simulation.explain(wrong, outcome).join("\n")
      assert.match(told, new RegExp(`seed ${seed}: 1 ranks, 1 steps, 1 faults`))
      assert.match(told, /step 10: adds 10[^]*violated: ten is one too many/)
      assert.match(told, /\*\* member \d takes/)
      yield* Simulation.holds(simulation(sound), { seeds: 5 })
      assert.isTrue((yield* Effect.exit(Simulation.holds(wrong, { seeds: 50 })))._tag === "Failure")
    }))
})
