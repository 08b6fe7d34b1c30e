import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as Load from "@phalanx/moe/testing/Load"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as RayCluster from "@phalanx/ray/RayCluster"
import { Console, Effect, Layer, Option } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as driver from "./driver.ts"
import * as group from "./group.ts"
import * as Timeline from "./timeline.ts"

const { values } = parseArgs({
  options: {
    cluster: { type: "string", default: "node" },
    json: { type: "boolean", default: false },
    "kill-driver": { type: "boolean", default: false },
    svg: { type: "string" },
    sizes: { type: "string", default: "2,4,3,1,2" }
  }
})
if (values["kill-driver"] && values.cluster !== "node") throw new Error("--kill-driver goes with --cluster node alone")
const sizes = values.sizes.split(",").map(Number)
const options = group.options(sizes[0]!, Math.max(...sizes))
const tell = (text: string) => values.json ? Effect.void : Console.log(text)

interface Ranks {
  readonly ranks: Generator.Ranks
  readonly generator: Generator.Generator["Service"]
  readonly timeline: Timeline.Timeline
}

const owned = ({ generator, timeline }: Ranks) =>
  timeline.soon(20, () => generator.seating.running().every((requests) => requests.length > 0))

/** The group goes from size to size. */
const scale = Effect.fnUntraced(function*(of: Ranks, sizes: ReadonlyArray<number>) {
  const resizable = ElasticRanks.make(of)
  for (const [i, dp] of sizes.entries()) {
    yield* of.timeline.steps(25)
    const { from, steps } = yield* Elastic.scale(resizable, { to: { dp, tp: 1 }, operation: `scale-${i}` })
    const within = yield* owned(of)
    yield* of.timeline.steps(25)
    yield* tell(Timeline.line(of.timeline.scaling({ from: from.shape["dp"]!, to: dp, steps, owned: within })))
  }
})

/** Compares all texts, and tells what came of it. */
const sum = Effect.fnUntraced(function*(
  { ranks, timeline }: Ranks,
  load: Effect.Success<ReturnType<typeof Load.start>>,
  more: Readonly<Record<string, unknown>> = {}
) {
  const texts = yield* load.stop
  const identical = yield* Load.compare(texts)
  if (values.svg !== undefined) writeFileSync(values.svg, timeline.svg())
  const recomputed = (yield* ranks.call.usage()).reduce((sum, usage) => sum + usage.recomputed, 0)
  const summary = { requests: load.sent(), completed: texts.length, identical, recomputed, ...more, scalings: timeline.scalings }
  yield* Console.log(values.json ? JSON.stringify(summary) : Timeline.summary(summary))
})

/** Sixteen requests write all the time. */
const alone = Effect.gen(function*() {
  const ranks = yield* WorkerGroup.make(Moe.Moe, { ...options, name: "elastic" })
  const timeline = Timeline.make(ranks.mesh.shape.dp)
  const generator = yield* Generator.make({ ranks, requests: 16, onStep: timeline.step })
  const load = yield* Load.start({ generator, onToken: timeline.token })
  yield* scale({ ranks, generator, timeline }, sizes.slice(1))
  yield* sum({ ranks, generator, timeline }, load)
})

/** The same, after a driver that is killed in the midst of the first change: this process takes over, and asks for the same requests by the same ids. */
const after = Effect.fnUntraced(function*(folder: string) {
  const timeline = Timeline.make(sizes[0]!)
  const [from, to] = sizes as [number, number]
  const { accepted, group: name, killed, pids, read, signal } = yield* driver.run(folder, [from, to, options.capacity], timeline)
  yield* tell(`the driver of ${from} ranks ends with ${signal} when it has accepted ${accepted.length} requests and is about to have ${to}`)

  const ranks = yield* WorkerGroup.adopt(Moe.Moe, { ...options, group: name })
  const generator = yield* Generator.adopt({ ranks, requests: 16, onStep: timeline.step })
  const known = (yield* generator.requests).map(({ id }) => id)
  const lost = accepted.filter((id) => !known.includes(id)).length
  const load = yield* Load.start({
    generator,
    id: String,
    onToken: (n) => {
      const before = read.get(n) ?? 0
      // What the other driver has read comes once more.
      if (before === 0) timeline.token(n)
      else read.set(n, before - 1)
    }
  })
  const of = { ranks, generator, timeline }
  const scaled = Option.getOrThrow(yield* Elastic.adopt(ElasticRanks.make(of)))
  const within = yield* owned(of)
  const kept = ranks.workers.filter(({ pid }) => pids.includes(pid)).length
  yield* tell(`another one takes over: ${lost} of them lost, ${kept} of ${pids.length} processes the same`)
  yield* timeline.steps(25)
  yield* tell(Timeline.line(timeline.scaling({ from, to, steps: scaled.steps, owned: within, killed })))
  yield* scale(of, sizes.slice(2))
  yield* timeline.soon(Infinity, () => accepted.every((id) => Number(id) < load.sent()))
  yield* sum(of, load, { signal, accepted: accepted.length, lost, kept })
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-elastic-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const cluster = values.cluster === "ray" ? Layer.orDie(RayCluster.layer()) : Layer.orDie(NodeCluster.layer)

const program = Effect.flatMap(folder, (path) =>
  values["kill-driver"]
    ? Effect.provide(Effect.scoped(after(path)), [group.cluster(path), group.operations(path)])
    : Effect.provide(Effect.scoped(alone), [cluster, group.operations(path)]))

NodeRuntime.runMain(Effect.scoped(program))
