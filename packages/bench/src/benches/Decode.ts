import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import type * as Bench from "../Bench.ts"
import * as Driver from "../Driver.ts"
import * as Row from "../Row.ts"

const words = ["actor", "happy", "hack", "Einstein", "computer", "Mozart", "black hole", "scheduler"]
/** Steps at both ends of a run have other numbers of rows. */
const ends = 8

/** What a step's time went to, by the name of its row. */
const parts: ReadonlyArray<readonly [system: string, of: (step: Generator.Step, before: Generator.Step) => number]> = [
  ["step", (step, before) => step.replied - before.replied],
  ["control", (step) => step.published - step.planned + step.replied - step.published - busiest(step)],
  ["arithmetic", (step) => Math.max(...step.replies.map(({ computed }) => computed))],
  ["collectives", (step) => Math.max(...step.replies.map(({ waited }) => waited))]
]
const busiest = (step: Generator.Step): number => Math.max(...step.replies.map(({ computed, waited }) => computed + waited))

const start = (dp: number) => WorkerGroup.make(Moe.Moe, { name: "bench", mesh: Mesh.make({ dp, tp: 1 }), entry: Moe.entry() })

/** The steps of a batch of eight, all of them writing. */
const steps = (ranks: Generator.Ranks, ahead: boolean, bytes: number) =>
  Effect.scoped(Effect.gen(function*() {
    const taken: Array<Generator.Step> = []
    const generator = yield* Generator.make({ ranks, ahead, onStep: (step) => taken.push(step) })
    yield* Effect.forEach(words, (word) => generator.generate({ prompt: Generator.headword(word), maxTokens: bytes }), {
      concurrency: "unbounded",
      discard: true
    })
    return taken.filter(({ rows }) => rows === words.length).slice(ends, -ends)
  }))

/** The model's decode step, and what of it is control. */
export const Decode: Bench.Bench = {
  name: "decode",
  about:
    "A decode step of the language model with a batch of eight, on 1 and 4 ranks (`workers`) of this machine, `bytes` being the batch. `step`: from one step's replies to the "
    + "next's, which is the time per output token, with the next plan published while a step runs (ahead) and without; `control`: scheduling, fan-out and replies, that is, all "
    + "of a step that is neither of the two below (measured without ahead, where nothing overlaps); `arithmetic` and `collectives`: the slowest rank's computing, and the longest wait for other ranks.",
  unit: "µs",
  run: (depth) =>
    Effect.forEach([1, 4], (dp) =>
      Effect.scoped(Effect.gen(function*() {
        const ranks = yield* start(dp)
        const rounds = new Map<string, Array<Row.Round>>()
        const add = (system: string, values: ReadonlyArray<number>) =>
          rounds.set(system, [...rounds.get(system) ?? [], { values: values.map((millis) => millis * 1000), foreign: 0 }])
        for (let round = 0; round < depth.rounds; round++) {
          for (const ahead of round % 2 === 0 ? [true, false] : [false, true]) {
            const taken = yield* steps(ranks, ahead, depth.name === "smoke" ? 24 : 64)
            for (const [system, of] of parts) {
              if (ahead && system !== "step") continue
              add(ahead ? "step, ahead" : system, taken.slice(1).map((step, index) => of(step, taken[index]!)))
            }
          }
        }
        return [...rounds].map(([system, values]) => Row.of(system, { workers: dp, bytes: words.length }, values))
      }))).pipe(
        Effect.map((rows) => rows.flat()),
        Effect.provide(NodeCluster.layer),
        Effect.mapError((error) => new Driver.SystemFailed({ system: "phalanx", issue: error.message }))
      )
}
