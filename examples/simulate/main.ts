import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as Fault from "@phalanx/core/testing/Fault"
import * as Simulation from "@phalanx/core/testing/Simulation"
import { Console, Effect } from "effect"
import { add, Counter, counter } from "./counter.ts"

/** Additions at random times to random ranks, which are stopped, slow or hard to reach for a while. */
const counting = (name: string, remembers: boolean) =>
  Simulation.make(name, {
    protocol: Counter,
    meshes: [Mesh.make({ rank: 4 })],
    smaller: [Mesh.make({ rank: 1 }), Mesh.make({ rank: 2 })],
    steps: 40,
    faults: 5,
    kinds: Fault.harmless,
    play: () => {
      const totals = new Map<number, number>()
      const asked = new Map<number, number>()
      return {
        worker: counter(totals, remembers),
        step: (draw, index) => {
          const at = draw.below(4)
          const n = draw.between(1, 9)
          return {
            does: `adds ${n}`,
            run: (counters) => {
              const rank = at % counters.mesh.ranks.length
              asked.set(rank, (asked.get(rank) ?? 0) + n)
              return add(counters.at(rank), index, n)
            }
          }
        },
        check: function*() {
          for (const [rank, sum] of asked) {
            if (totals.get(rank) !== sum) yield `rank ${rank} has counted ${totals.get(rank)}, and was asked to add ${sum}`
          }
        }
      }
    }
  })

const seeds = 40

const program = Effect.gen(function*() {
  const forgetful = counting("a counter that forgets", false)
  let outcome = Simulation.run(forgetful, 1)
  while (outcome.violations.length === 0) outcome = Simulation.run(forgetful, outcome.seed + 1)
  yield* Console.log(`seed ${outcome.seed}: ${outcome.violations[0]}`)

  // Of the same steps and faults those that it takes, told line by line.
  const { plan } = Simulation.shrink(forgetful, outcome)
  yield* Console.log(
    `of ${outcome.plan.steps.length} steps and ${outcome.plan.faults.length} faults it takes ${plan.steps.length} and ${plan.faults.length}`
  )
  for (const line of Simulation.explain(forgetful, outcome)) yield* Console.log(line)

  const again = Simulation.run(forgetful, outcome.seed)
  yield* Console.log(`run again, the seed is ${again.hash === outcome.hash ? "the same" : "another"}`)

  yield* Simulation.holds(counting("a counter that remembers", true), { seeds })
  yield* Console.log(`a counter that remembers holds for ${seeds} seeds`)
})

program.pipe(NodeRuntime.runMain)
