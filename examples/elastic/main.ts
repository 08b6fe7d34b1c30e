import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as Load from "@phalanx/moe/testing/Load"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as RayCluster from "@phalanx/ray/RayCluster"
import { Console, Effect, Layer } from "effect"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Timeline from "./timeline.ts"

const { values } = parseArgs({
  options: {
    cluster: { type: "string", default: "node" },
    json: { type: "boolean", default: false },
    svg: { type: "string" },
    sizes: { type: "string", default: "2,4,3,1,2" }
  }
})
const sizes = values.sizes.split(",").map(Number)

class Ranks extends WorkerGroup.Service<Ranks>()("elastic/Ranks", {
  protocol: Moe.Moe,
  name: "elastic",
  mesh: Mesh.make({ dp: sizes[0]!, tp: 1 }),
  capacity: Math.max(...sizes),
  entry: Moe.entry()
}) {}

/** Sixteen requests write all the time, and the group goes from size to size. */
const program = Effect.gen(function*() {
  const ranks = yield* Ranks
  const timeline = Timeline.make(ranks.mesh.shape.dp)
  const generator = yield* Generator.make({ ranks, requests: 16, onStep: timeline.step })
  const group = ElasticRanks.make({ ranks, generator })
  const load = yield* Load.start({ generator, onToken: timeline.token })

  for (const [i, dp] of sizes.slice(1).entries()) {
    yield* timeline.steps(25)
    const { from, steps } = yield* Elastic.scale(group, { to: { dp, tp: 1 }, operation: `scale-${i}` })
    const owned = yield* timeline.soon(20, () => generator.seating.running().every((requests) => requests.length > 0))
    yield* timeline.steps(25)
    const scaling = timeline.scaling({ from: from.shape["dp"]!, to: dp, steps, owned })
    if (!values.json) yield* Console.log(Timeline.line(scaling))
  }
  const texts = yield* load.stop
  const identical = yield* Load.compare(texts)
  if (values.svg !== undefined) writeFileSync(values.svg, timeline.svg())
  const recomputed = (yield* ranks.call.usage()).reduce((sum, usage) => sum + usage.recomputed, 0)
  const summary = { requests: load.sent(), completed: texts.length, identical, recomputed, scalings: timeline.scalings }
  yield* Console.log(values.json ? JSON.stringify(summary) : Timeline.summary(summary))
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-elastic-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)
const Journal = Layer.unwrap(Effect.map(folder, (path) => Elastic.layerSqlite({ filename: join(path, "journal.sqlite") })))
const Cluster = values.cluster === "ray" ? Layer.orDie(RayCluster.layer()) : Layer.orDie(NodeCluster.layer)

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.mergeAll(Journal, Ranks.layer.pipe(Layer.provide(Cluster)))),
  NodeRuntime.runMain
)
