import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as Generator from "@phalanx/moe/Generator"
import * as Ranks from "@phalanx/moe/Ranks"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Effect, Layer, Stream } from "effect"

const Serving = Generator.layer.pipe(
  Layer.provide(Ranks.layer({ mesh: Mesh.make({ dp: 2, tp: 1 }) })),
  Layer.provide(NodeCluster.layer)
)

const program = Effect.gen(function*() {
  const generator = yield* Generator.Generator
  const word = process.argv[2] ?? "river"
  process.stdout.write(`${word}\n`)
  yield* Stream.runForEach(
    generator.stream({ prompt: Generator.headword(word) }),
    (event) => Effect.sync(() => void process.stdout.write(event._tag === "Byte" ? Uint8Array.of(event.byte) : "\n"))
  )
})

program.pipe(Effect.provide(Serving), NodeRuntime.runMain)
