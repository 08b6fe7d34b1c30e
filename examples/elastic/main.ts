import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Elastic from "@phalanx/elastic/Elastic"
import { Resizable } from "@phalanx/elastic/Resizable"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Ranks from "@phalanx/moe/Ranks"
import * as Load from "@phalanx/moe/testing/Load"
import * as NodeCluster from "@phalanx/node/NodeCluster"
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
    requests: { type: "string", default: "16" },
    svg: { type: "string" },
    sizes: { type: "string", default: "2,4,3,1,2" }
  }
})
const sizes = values.sizes.split(",").map(Number)
/** Requests that write at a time. */
const open = Number(values.requests)
const options = group.options(sizes[0]!, Math.max(...sizes))
const tell = (text: string) => values.json ? Effect.void : Console.log(text)

const limits = (timeline: Timeline.Timeline): Generator.Options => ({ requests: 16, onStep: timeline.step })

const owned = Effect.fnUntraced(function*(timeline: Timeline.Timeline) {
  const { seating } = yield* Generator.Generator
  return yield* timeline.soon(20, () => seating.running().every((requests) => requests.length > 0))
})

/** The group goes from size to size. */
const scale = Effect.fnUntraced(function*(timeline: Timeline.Timeline, sizes: ReadonlyArray<number>) {
  const resizable = yield* Resizable
  for (const [i, dp] of sizes.entries()) {
    yield* timeline.steps(25)
    const { from, steps } = yield* Elastic.scale(resizable, { to: { dp, tp: 1 }, operation: `scale-${i}` })
    const within = yield* owned(timeline)
    yield* timeline.steps(25)
    yield* tell(Timeline.line(timeline.scaling({ from: from.shape["dp"]!, to: dp, steps, owned: within })))
  }
})

/** Compares all texts, and tells what came of it. */
const sum = Effect.fnUntraced(function*(
  timeline: Timeline.Timeline,
  load: Effect.Success<ReturnType<typeof Load.start>>,
  more: Readonly<Record<string, unknown>> = {}
) {
  const texts = yield* load.stop
  const identical = yield* Load.compare(texts)
  if (values.svg !== undefined) writeFileSync(values.svg, timeline.svg())
  const ranks = yield* Ranks.Ranks
  const recomputed = (yield* ranks.call.usage()).reduce((sum, usage) => sum + usage.recomputed, 0)
  const summary = { requests: load.sent(), completed: texts.length, identical, recomputed, ...more, scalings: timeline.scalings }
  yield* Console.log(values.json ? JSON.stringify(summary) : Timeline.summary(summary))
})

/** So many requests write all the time. */
const alone = Effect.gen(function*() {
  const timeline = Timeline.make(sizes[0]!)
  const program = Effect.gen(function*() {
    const load = yield* Load.start({ generator: yield* Generator.Generator, open, onToken: timeline.token })
    yield* scale(timeline, sizes.slice(1))
    yield* sum(timeline, load)
  })
  yield* Effect.provide(
    program,
    ElasticRanks.layer.pipe(
      Layer.provideMerge(Generator.layerWith(limits(timeline))),
      Layer.provideMerge(Ranks.layer({ ...options, name: "elastic" }))
    )
  )
})

/** Takes over from a driver that was killed: has the change made that it had begun, and asks for the same requests by the same ids. */
const goOn = Effect.fnUntraced(function*(timeline: Timeline.Timeline, former: Effect.Success<ReturnType<typeof driver.run>>) {
  const { accepted, killed, pids, read, signal } = former
  const [from, to] = sizes as [number, number]
  const ranks = yield* Ranks.Ranks
  const generator = yield* Generator.Generator
  const known = (yield* generator.requests).map(({ id }) => id)
  const lost = accepted.filter((id) => !known.includes(id)).length
  const load = yield* Load.start({
    generator,
    open,
    id: String,
    onToken: (n) => {
      const before = read.get(n) ?? 0
      // What the other driver has read comes once more.
      if (before === 0) timeline.token(n)
      else read.set(n, before - 1)
    }
  })
  const scaled = Option.getOrThrow(yield* Elastic.adopt(yield* Resizable))
  const within = yield* owned(timeline)
  const kept = ranks.workers.filter(({ pid }) => pids.includes(pid)).length
  yield* tell(`another one takes over: ${lost} of them lost, ${kept} of ${pids.length} processes the same`)
  yield* timeline.steps(25)
  yield* tell(Timeline.line(timeline.scaling({ from, to, steps: scaled.steps, owned: within, killed })))
  yield* scale(timeline, sizes.slice(2))
  yield* timeline.soon(Infinity, () => accepted.every((id) => Number(id) < load.sent()))
  yield* sum(timeline, load, { signal, accepted: accepted.length, lost, kept })
})

/** The same, after a driver that is killed in the midst of the first change. */
const after = Effect.fnUntraced(function*(folder: string) {
  const timeline = Timeline.make(sizes[0]!)
  const [from, to] = sizes as [number, number]
  const former = yield* driver.run(folder, [from, to, options.capacity, values.cluster, open], timeline)
  const { accepted, group, signal } = former
  yield* tell(`the driver of ${from} ranks ends with ${signal} when it has accepted ${accepted.length} requests and is about to have ${to}`)
  yield* Effect.provide(
    goOn(timeline, former),
    ElasticRanks.layer.pipe(
      Layer.provideMerge(Generator.layerAdopted(limits(timeline))),
      Layer.provideMerge(Ranks.layerAdopted({ ...options, group }))
    )
  )
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-elastic-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const cluster = values.cluster === "ray" ? group.ray() : Layer.orDie(NodeCluster.layer)

/** A cluster of Ray's that both drivers use; one that is started for the purpose lives as long as this process. */
const shared = Effect.gen(function*() {
  if (values.cluster !== "ray" || (process.env["RAY_ADDRESS"] ?? "") !== "") return
  const RayHead = yield* Effect.promise(() => import("@phalanx/ray/RayHead"))
  const { address, token } = yield* RayHead.make()
  Object.assign(process.env, { RAY_ADDRESS: address, RAY_AUTH_TOKEN: token })
})

const program = Effect.flatMap(folder, (path) =>
  values["kill-driver"]
    ? Effect.andThen(shared, Effect.provide(Effect.scoped(after(path)), [group.cluster(path, values.cluster), group.operations(path)]))
    : Effect.provide(Effect.scoped(alone), [cluster, group.operations(path)]))

NodeRuntime.runMain(Effect.scoped(program))
