import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as RayCluster from "@phalanx/ray/RayCluster"
import { Console, Effect, Layer, Stream } from "effect"
import * as Hosts from "../../test/harness/hosts.ts"
import * as ThreeHosts from "../../test/harness/threeHosts.ts"

const [word = "river", inside] = process.argv.slice(2)

const program = Effect.gen(function*() {
  const ranks = yield* WorkerGroup.make(Moe.Moe, { mesh: Mesh.make({ dp: 3, tp: 1 }), entry: Moe.entry(), name: "moe" }).pipe(
    RayCluster.placed({ strategy: "strict-spread" })
  )
  for (const { node, rank } of ranks.workers) yield* Console.log(`rank ${rank} on ${node}`)
  const generator = yield* Generator.make({ ranks })
  yield* Console.log(word)
  yield* Stream.runForEach(
    generator.stream({ prompt: Generator.headword(word) }),
    (event) => Effect.sync(() => void process.stdout.write(event._tag === "Byte" ? Uint8Array.of(event.byte) : "\n"))
  )
}).pipe(Effect.scoped)

/** Runs this program again as the first of the hosts, with what it prints. */
const enter = Effect.gen(function*() {
  const child = yield* Hosts.enter(import.meta.filename, word, "inside")
  child.stdout!.pipe(process.stdout)
  process.exitCode = yield* Effect.callback<number>((resume) => {
    child.once("exit", (code) => resume(Effect.succeed(code ?? 1)))
  })
}).pipe(Effect.scoped)

const hosts = ThreeHosts.cluster().pipe(Layer.provide(ThreeHosts.Three.layer))
const given = (process.env["RAY_ADDRESS"] ?? "") !== ""

NodeRuntime.runMain(given ? Effect.provide(program, RayCluster.layer()) : inside === undefined ? enter : Effect.provide(program, hosts))
