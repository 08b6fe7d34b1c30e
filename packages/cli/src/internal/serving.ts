/** Ranks of the model that write what a command was asked for, and the view that shows it. */
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import type { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { pathToFileURL } from "node:url"
import type { Flags } from "../Generate.ts"
import { Failed } from "./failed.ts"
import * as Json from "./json.ts"
import * as Live from "./live.ts"
import * as Plain from "./plain.ts"
import type { View } from "./view.ts"

/** Bytes that are written, of all entries together, when `--kill` strikes. */
const beforeKill = 60

const clusterOf = Effect.fnUntraced(function*(given: Flags) {
  const of = (layer: Layer.Layer<Cluster.Cluster | MessageQueues, { readonly message: string }>) => layer
  const transport = Option.getOrUndefined(given.transport)
  if (given.cluster === "node") {
    return of(transport === "memory" ? Cluster.layerMemory : NodeCluster.layerWith({ transport }))
  }
  if (transport === "shm" || transport === "memory") {
    return yield* new Failed({ text: `--transport ${transport}: a Ray cluster may span machines; give mixed or tcp` })
  }
  // Loaded by those who ask for it.
  const { layer } = yield* Effect.promise(() => import("@phalanx/ray/RayCluster"))
  return of(layer({ transport }))
})

const write = Effect.fnUntraced(function*(given: Flags, shape: { readonly dp: number; readonly tp: number }, view: View) {
  const began = performance.now()
  const weights = given.weights._tag === "Some" ? pathToFileURL(given.weights.value) : undefined
  const victim = Option.getOrUndefined(given.kill)
  if (victim !== undefined && (victim < 0 || victim >= shape.dp * shape.tp)) {
    return yield* new Failed({ text: `--kill ${victim}: the ranks are 0 … ${shape.dp * shape.tp - 1}` })
  }
  const ranks = yield* WorkerGroup.make(Moe.Moe, {
    name: "moe",
    mesh: Mesh.make(shape),
    entry: Moe.entry({ weights }),
    supervision: Supervision.restart({ max: 3, per: "1 minute" })
  })
  yield* ranks.events.pipe(
    Stream.runForEach((event) => {
      if (event._tag === "Died") view.died(event.died, performance.now() - began)
      return event._tag === "Restarted"
        // If it has died again meanwhile, there is an event of that, too.
        ? Effect.ignore(Effect.map(ranks.at(event.rank).call.describe(), (rank) => view.restarted(rank, performance.now() - began)))
        : Effect.void
    }),
    Effect.forkScoped
  )
  view.ready(yield* ranks.call.describe(), { ...shape, transport: ranks.transport, millis: performance.now() - began })
  const steps = { count: 0, millis: 0 }
  const generator = yield* Generator.make({
    ranks,
    onStep: (step) => {
      steps.count++
      steps.millis += step.replied - step.published
      view.step(step.replies)
    }
  })
  const writing = performance.now()
  let first: number | undefined
  let total = 0
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const kill = (rank: number): void => void run(ranks.kill(rank))
  const one = Effect.fnUntraced(function*(word: string, index: number) {
    const bytes: Array<number> = []
    const prompt = given.raw ? new TextEncoder().encode(word) : Generator.headword(word)
    yield* Stream.runForEach(
      generator.stream({ prompt, maxTokens: given.maxTokens, sampling: { temperature: given.temperature, seed: given.seed } }),
      (event) =>
        Effect.sync(() => {
          if (event._tag === "End") return view.end(index, { prompt: word, bytes, finish: event.finish })
          first ??= performance.now()
          if (++total === beforeKill && victim !== undefined) kill(victim)
          bytes.push(event.byte)
          view.byte(index, event.byte)
        })
    )
  })
  const watch = Effect.forever(Effect.andThen(Effect.map(generator.load, view.load), Effect.sleep("250 millis")))
  yield* Effect.raceFirst(Effect.forEach(given.prompts, one, { concurrency: "unbounded", discard: true }), watch)
  const usage = yield* ranks.call.usage()
  view.summary({
    prompts: given.prompts.length,
    bytes: total,
    seconds: (performance.now() - writing) / 1000,
    firstByteMillis: (first ?? performance.now()) - writing,
    startMillis: writing - began,
    steps: steps.count,
    stepMillis: steps.count === 0 ? 0 : steps.millis / steps.count,
    sent: usage.map(({ sent }) => sent)
  })
})

/** Serves the prompts with a mesh of this shape. */
export const serve = Effect.fnUntraced(function*(given: Flags, shape: { readonly dp: number; readonly tp: number }) {
  const view: View = given.json ? Json.make() : process.stdout.isTTY ? yield* Live.make(process.stdout, given.prompts) : Plain.make()
  yield* Effect.provide(write(given, shape, view), Layer.unwrap(clusterOf(given)))
})
