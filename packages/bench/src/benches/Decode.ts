import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import type { Ranks } from "@phalanx/moe/Ranks"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import type * as Bench from "../Bench.ts"
import * as Driver from "../Driver.ts"
import * as Row from "../Row.ts"

const words = ["actor", "happy", "hack", "Einstein", "computer", "Mozart", "black hole", "scheduler"]
/** Steps at both ends of a run have other numbers of rows. */
const ends = 8

/** By how much the clock of the ranks is ahead of this process's, which tells when a step was planned: what two readings say between which nothing came. */
const lead = Math.max(...Array.from({ length: 100 }, () => Number(process.hrtime.bigint()) / 1e6 - performance.now()))

const began = ({ replies }: Generator.Step): number => Math.min(...replies.map(({ began }) => began)) - lead
const ended = ({ replies }: Generator.Step): number => Math.max(...replies.map(({ ended }) => ended)) - lead

/** What a step's time went to, by the name of its row. */
const parts: ReadonlyArray<readonly [system: string, of: (step: Generator.Step, before: Generator.Step) => number]> = [
  ["step", (step, before) => step.replied - before.replied],
  ["control", (step) => began(step) - step.planned + step.replied - ended(step)],
  ["fan-out", (step) => began(step) - step.planned],
  ["replies", (step) => step.replied - ended(step)],
  ["arithmetic", ({ replies }) => Math.max(...replies.map(({ began, ended, waited }) => ended - began - waited))],
  ["collectives", ({ replies }) => Math.max(...replies.map(({ waited }) => waited))]
]

const start = (dp: number) => WorkerGroup.make(Moe.Moe, { name: "bench", mesh: Mesh.make({ dp, tp: 1 }), entry: Moe.entry() })

/** The steps of a batch of eight, all of them writing. */
const steps = (ranks: Ranks["Service"], ahead: boolean, bytes: number) =>
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
    + "next's, which is the time per output token, with the next plan published while a step runs (ahead) and without; `control`: the part of a step in which no rank is at work, that is, "
    + "from the beginning of its planning until the first rank has begun (`fan-out`: scheduling, too), and from the last rank's end until all replies have been given on (`replies`); measured without "
    + "ahead, where nothing overlaps. `arithmetic` and `collectives`: the slowest rank's computing, and the longest wait for other ranks.",
  unit: "µs",
  run: (depth) =>
    Effect.forEach([1, 4], (dp) =>
      Effect.scoped(Effect.gen(function*() {
        const ranks = yield* start(dp)
        const rounds = new Map<string, Array<Row.Round>>()
        const add = (system: string, values: ReadonlyArray<number>) =>
          rounds.set(system, [...rounds.get(system) ?? [], { values: values.map((millis) => millis * 1000), foreign: 0 }])
        const heated = performance.now() + depth.heat.most
        while (performance.now() < heated) yield* steps(ranks, false, 64)
        for (let round = 0; round < depth.rounds; round++) {
          for (const ahead of round % 2 === 0 ? [true, false] : [false, true]) {
            const taken = yield* steps(ranks, ahead, 64)
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
