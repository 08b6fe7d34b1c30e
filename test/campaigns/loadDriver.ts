/** A driver under load, until it is killed. Arguments: the group's name, the number of ranks, the transport, and `block` to have rank 0 compute. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Load } from "./loadProtocol.ts"

const [name, ranks, transport, block] = process.argv.slice(2)

const program = Effect.scoped(Effect.gen(function*() {
  const group = yield* WorkerGroup.make(Load, {
    name: name!,
    mesh: Mesh.make({ rank: Number(ranks) }),
    entry: new URL("./loadWorker.ts", import.meta.url)
  })
  process.stdout.write("ready\n")
  const free = group.mesh.ranks.slice(block === "block" ? 1 : 0)
  const answering = group.slice({ rank: free })
  if (block === "block") yield* Effect.forkChild(group.at(0).call.block())
  const sizes = [0, 100, 10_000, 300_000]
  const forever = <A, E>(body: (turn: number) => Effect.Effect<A, E>) => {
    let turn = 0
    return Effect.forever(Effect.suspend(() => body(turn++)))
  }
  yield* Effect.all([
    ...sizes.map((size) => forever(() => answering.call.echo({ bytes: new Uint8Array(size) }))),
    forever((turn) => Stream.runDrain(answering.stream.count({ to: 1 + turn % 100 }))),
    ...(block === "block" ? [] : [forever((turn) => group.call.gather({ bytes: turn % 100_000 }))])
  ], { concurrency: "unbounded" })
})).pipe(Effect.provide(NodeCluster.layerWith({ transport: transport as NodeCluster.Options["transport"] })))

NodeRuntime.runMain(program)
