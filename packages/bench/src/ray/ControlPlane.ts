/**
 * The model's decode loop, with its steps carried by Phalanx on this machine, by Phalanx on Ray, and by one call of a Ray actor for each rank. Model, ranks, scheduler and
 * collectives are the same in all three, and all are up from the first round to the last; one is asked at a time, in another order each round.
 */
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as RayCluster from "@phalanx/ray/RayCluster"
import type * as RayHead from "@phalanx/ray/RayHead"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import * as Bench from "../Bench.ts"
import { SystemFailed } from "../Driver.ts"
import * as ActorSteps from "./ActorSteps.ts"
import * as Serving from "./Serving.ts"

/** The ways, in the order in which they are told. */
export const ways = ["machine", "ray", "actors"] as const
export type Way = typeof ways[number]

export interface Options {
  readonly head: RayHead.Head
  readonly python: string
  readonly ranks: number
  readonly rounds: number
  /** Of each request; eight requests are a round. */
  readonly tokens: number
}

/** What was found. */
export interface Comparison {
  readonly served: Readonly<Record<Way, Serving.Served>>
  /** Of the rounds' mean times per output token: Phalanx on Ray by Phalanx on this machine, and actor calls by Phalanx on Ray. */
  readonly rayByMachine: Serving.Interval
  readonly actorsByRay: Serving.Interval
  /** Milliseconds of a fan-out of 256 bytes to actors that answer at once, and do nothing else. */
  readonly bare: Serving.Statistics
  /** Milliseconds until a group was ready on Ray, with its workers on a cluster that was up. */
  readonly ready: number
}

const words = ["actor", "happy", "hack", "Einstein", "computer", "Mozart", "black hole", "scheduler"]

const group = (ranks: number, entry: URL) => WorkerGroup.make(Moe.Moe, { name: "bench", mesh: Mesh.make({ dp: ranks, tp: 1 }), entry })

/** A batch of eight requests, all at once: when each byte came, and the bytes. */
const batch = (generator: Generator.Generator["Service"], tokens: number) =>
  Effect.forEach(
    words,
    (word) =>
      Effect.gen(function*() {
        const times: Array<number> = []
        const bytes: Array<number> = []
        const start = performance.now()
        yield* Stream.runForEach(
          generator.stream({ prompt: Generator.headword(word), maxTokens: tokens }),
          (event) =>
            Effect.sync(() => {
              if (event._tag !== "Byte") return
              times.push(performance.now())
              bytes.push(event.byte)
            })
        )
        return { start, tokens: times, bytes }
      }),
    { concurrency: "unbounded" }
  )

/** A folder for the actors' rings, gone with the scope. */
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync("/dev/shm/phalanx-steps-")),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** Measures; what it starts ends with it. */
export const run = Effect.fn("ControlPlane.run")(
  function*({ head, python, ranks, rounds, tokens }: Options) {
    const onMachine = yield* Effect.provide(group(ranks, Moe.entry()), NodeCluster.layer)

    const onRay = yield* Layer.build(RayCluster.layer({ ...head, python, output: "ignore", progress: () => {} }))
    // The first group on a connection has no agent yet: a warm one is what a driver has that starts another group.
    if (rounds > 1) yield* Effect.scoped(Effect.provideContext(group(1, Moe.entry()), onRay))
    const began = performance.now()
    const rayGroup = yield* Effect.provideContext(group(ranks, Moe.entry()), onRay)
    const ready = performance.now() - began

    const rings = yield* folder
    const entry = new URL("../workers/ringWorker.ts", import.meta.url)
    const behind = yield* Effect.provide(group(ranks, entry), NodeCluster.layerWith({ env: { PHALANX_STEP_RINGS: rings } }))
    const actors = yield* ActorSteps.make({
      ...head,
      python,
      rings: Array.from({ length: ranks }, (_, rank) => join(rings, String(rank)))
    })

    const generators = {
      machine: yield* Generator.make({ ranks: onMachine }),
      ray: yield* Generator.make({ ranks: rayGroup }),
      actors: yield* Generator.make({ ranks: actors.over(behind) })
    }
    // What compilers learn, they learn here.
    for (let heat = 0; heat < (rounds > 1 ? 3 : 1); heat++) {
      const texts = yield* Effect.forEach(ways, (way) => Effect.map(batch(generators[way], tokens), (of) => of.map(({ bytes }) => bytes)))
      if (!texts.every((text) => Equal.equals(text, texts[0]))) {
        return yield* new SystemFailed({ system: "actor calls", issue: "the ways do not write the same" })
      }
    }

    const taken: Record<Way, Array<ReadonlyArray<Serving.Timing>>> = { machine: [], ray: [], actors: [] }
    const bare: Array<number> = []
    for (let round = 0; round < rounds; round++) {
      for (const way of Bench.rotated(ways, round)) taken[way].push(yield* batch(generators[way], tokens))
      bare.push(...yield* actors.bare(50))
    }
    const ratios = (above: Way, below: Way) =>
      Serving.interval(taken[above].map((timings, round) => Serving.of(timings).tpot.mean / Serving.of(taken[below][round]!).tpot.mean))
    return {
      served: { machine: Serving.of(taken.machine.flat()), ray: Serving.of(taken.ray.flat()), actors: Serving.of(taken.actors.flat()) },
      rayByMachine: ratios("ray", "machine"),
      actorsByRay: ratios("actors", "ray"),
      bare: Serving.statistics(bare.map((micros) => micros / 1000)),
      ready
    } satisfies Comparison as Comparison
  },
  Effect.scoped,
  Effect.mapError((error) => new SystemFailed({ system: "phalanx", issue: error.message }))
)
