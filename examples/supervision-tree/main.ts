import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as Supervisor from "@phalanx/core/Supervisor"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect, Stream } from "effect"
import { Node } from "./worker.ts"

const group = (name: string, ranks: number) =>
  WorkerGroup.make(Node, { name, mesh: Mesh.make({ rank: ranks }), entry: new URL("./worker.ts", import.meta.url) })

const program = Effect.gen(function*() {
  const tree = yield* Supervisor.make({
    supervision: Supervision.restart({ max: 3, per: "1 minute", scope: "rest" }),
    children: { store: group("store", 2), front: group("front", 1) }
  })
  const before = yield* Effect.flatMap(tree.get("store"), (store) => store.call.pid())
  yield* Effect.sync(() => process.kill(before[0]!, "SIGKILL"))

  yield* tree.events.pipe(Stream.take(7), Stream.runForEach(({ _tag, child, restarts }) => Console.log(_tag, child, restarts)))
  const after = yield* Effect.flatMap(tree.get("store"), (store) => store.call.pid())
  yield* Console.log(`the store has ${after.filter((pid) => !before.includes(pid)).length} new processes`)
})

program.pipe(Effect.scoped, Effect.provide(NodeCluster.layer), NodeRuntime.runMain)
