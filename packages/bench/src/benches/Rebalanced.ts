import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import type { Load } from "@phalanx/elastic/ExpertLoad"
import * as Generator from "@phalanx/moe/Generator"
import * as Model from "@phalanx/moe/Model"
import * as Moe from "@phalanx/moe/Moe"
import * as Ranks from "@phalanx/moe/Ranks"
import * as Rebalance from "@phalanx/moe/Rebalance"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import * as Bench from "../Bench.ts"
import type * as Depth from "../Depth.ts"
import * as Driver from "../Driver.ts"
import * as Row from "../Row.ts"

const persons = [
  "Einstein",
  "Mozart",
  "Newton",
  "Darwin",
  "Galileo",
  "Napoleon",
  "Beethoven",
  "Caesar",
  "Kant",
  "Bach",
  "Lincoln",
  "Goethe",
  "Plato",
  "Bohr",
  "Curie",
  "Dante"
]
const setting = { workers: 4, bytes: persons.length }
/** Of each, one after the other, in a round: a machine that is slower now than a second ago is so for both. */
const turns = 4
/** Steps at both ends of a run have other numbers of rows. */
const ends = 8

/** What experts had to do for entries of persons that were held out. */
const recorded = (): Load => JSON.parse(readFileSync(new URL("load.json", Model.file), "utf8")).by_kind.person.counts

const steps = (generator: Generator.Generator["Service"], taken: Array<Generator.Step>) =>
  Effect.gen(function*() {
    taken.length = 0
    yield* Effect.forEach(persons, (word) => generator.generate({ prompt: Generator.headword(word), maxTokens: 64 }), {
      concurrency: "unbounded",
      discard: true
    })
    const whole = taken.filter(({ rows }) => rows === persons.length).slice(ends, -ends)
    return whole.slice(1).map(({ replied }, index) => (replied - whole[index]!.replied) * 1000)
  })

/** The model's step before and after its experts have been placed anew. */
export const Rebalanced: Bench.Bench = {
  name: "rebalance",
  about:
    "A decode step of the language model on 4 ranks with a batch of 16 persons' entries (`bytes`), whose recorded load (`load.json`) is skewed: on a group as it was started, and on one whose experts have been placed anew by "
    + "that load while it wrote, in turn; the ratio is that of the medians of two turns that follow each other. `balanced`: the mean of what ranks have to do by that load over the most that one has.",
  unit: "µs",
  run: (depth: Depth.Depth) =>
    Effect.scoped(Effect.gen(function*() {
      const groups = yield* Effect.forEach(["as started", "placed anew"], (system) =>
        Effect.gen(function*() {
          const ranks = yield* WorkerGroup.make(Moe.Moe, { name: "bench", mesh: Mesh.make({ dp: 4, tp: 1 }), entry: Moe.entry() })
          const taken: Array<Generator.Step> = []
          const generator = yield* Generator.make({ ranks, onStep: (step) => taken.push(step) })
          return { system, ranks, generator, sample: steps(generator, taken), rounds: [] as Array<Row.Round> }
        }))
      const { generator, ranks } = groups[1]!
      const [{ after, before }] = yield* Effect.all([
        Rebalance.run({ load: recorded() }).pipe(
          Effect.provideService(Ranks.Ranks, ranks),
          Effect.provideService(Generator.Generator, generator)
        ),
        groups[1]!.sample
      ], {
        concurrency: 2
      })
      const heated = performance.now() + depth.heat.most
      while (performance.now() < heated) yield* Effect.forEach(groups, ({ sample }) => sample)
      const ratios: Array<number> = []
      for (let round = 0; round < depth.rounds; round++) {
        const values = new Map(groups.map(({ system }) => [system, [] as Array<number>]))
        for (let turn = 0; turn < turns; turn++) {
          const pair = new Map<string, number>()
          for (const { sample, system } of Bench.rotated(groups, turn)) {
            const taken = yield* sample
            values.get(system)!.push(...taken)
            pair.set(system, Row.median(taken))
          }
          ratios.push(pair.get("placed anew")! / pair.get("as started")!)
        }
        for (const { rounds, system } of groups) rounds.push({ values: values.get(system)!, foreign: 0 })
      }
      return [
        ...groups.map(({ rounds, system }) => Row.of(system, setting, rounds)),
        { ...Row.of("placed anew ÷ as started", setting, ratios.map((ratio) => ({ values: [ratio * 100], foreign: 0 }))), unit: "%" },
        ...[["balanced, as started", before], ["balanced, placed anew", after]].map(([system, share]) => ({
          ...Row.of(system as string, setting, [{ values: [share as number * 100], foreign: 0 }]),
          unit: "%"
        }))
      ]
    })).pipe(
      Effect.provide(NodeCluster.layer),
      Effect.mapError((error) => new Driver.SystemFailed({ system: "phalanx", issue: error.message }))
    )
}
