import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect, Stream } from "effect"
import { Squares } from "./worker.ts"

const program = Effect.gen(function*() {
  const group = yield* WorkerGroup.make(Squares, { mesh: Mesh.make({ dp: 2 }), entry: new URL("./worker.ts", import.meta.url) })
  // Elements come as ranks make them. A slow reader slows its producers, and one that stops ends them.
  const found = yield* group.stream.squares().pipe(
    Stream.filter(({ value }) => value < 400),
    Stream.take(20),
    Stream.runCollect
  )
  yield* Console.log(found.map(({ value }) => value).sort((a, b) => a - b).join(" "))
  const made = yield* group.call.made()
  yield* Console.log(made.every((count) => count < 10_000) ? "every producer has stopped" : `a producer ran away: ${made.join(" ")}`)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(NodeCluster.layer), NodeRuntime.runMain)
