import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Effect, Layer, Stream } from "effect"

class Ranks extends WorkerGroup.Service<Ranks>()("generate/Ranks", {
  protocol: Moe.Moe,
  mesh: Mesh.make({ dp: 2, tp: 1 }),
  entry: Moe.entry()
}) {}

const Serving = Layer.unwrap(Effect.map(Ranks, (ranks) => Generator.layer({ ranks })))

const program = Effect.gen(function*() {
  const generator = yield* Generator.Generator
  const word = process.argv[2] ?? "river"
  process.stdout.write(`${word}\n`)
  yield* Stream.runForEach(
    generator.stream({ prompt: Generator.headword(word) }),
    (event) => Effect.sync(() => void process.stdout.write(event._tag === "Byte" ? Uint8Array.of(event.byte) : "\n"))
  )
})

program.pipe(
  Effect.provide(Serving.pipe(Layer.provide(Ranks.layer), Layer.provide(NodeCluster.layer))),
  NodeRuntime.runMain
)
