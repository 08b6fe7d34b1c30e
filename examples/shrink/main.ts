import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect, Layer, Stream } from "effect"
import { Shard } from "./worker.ts"

class Shards extends WorkerGroup.Service<Shards>()("shrink/Shards", {
  protocol: Shard,
  mesh: Mesh.make({ dp: 2, tp: 2 }),
  entry: new URL("./worker.ts", import.meta.url),
  supervision: Supervision.shrink({ along: "dp" })
}) {}

const program = Effect.gen(function*() {
  const shards = yield* Shards
  yield* shards.call.put(({ coordinates: { dp, tp } }) => ({ value: `${"ab"[dp]}${tp}` }))
  yield* Console.log(`${(yield* shards.call.meet())[0]} ranks meet`)

  yield* Effect.sync(() => process.kill(shards.workers[0]!.pid!, "SIGKILL"))
  const [resized] = yield* Stream.runCollect(Stream.take(Stream.filter(shards.events, (event) => event._tag === "Resized"), 1))
  yield* Console.log("members that left:", ...resized!.left)

  for (const line of yield* shards.call.describe()) yield* Console.log(line)
  yield* Console.log(`${(yield* shards.call.meet())[0]} ranks meet`)
})

program.pipe(Effect.provide(Shards.layer.pipe(Layer.provide(NodeCluster.layer))), NodeRuntime.runMain)
