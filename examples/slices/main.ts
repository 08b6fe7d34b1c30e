import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import { Console, Effect } from "effect"
import { Grid } from "./worker.ts"

const program = Effect.gen(function*() {
  const grid = yield* WorkerGroup.make(Grid, {
    mesh: Mesh.make({ row: 2, column: 3 }),
    entry: new URL("./worker.ts", import.meta.url)
  })
  yield* Console.log("all            ", (yield* grid.call.name()).join(" "))
  yield* Console.log("row 1          ", (yield* grid.slice({ row: 1 }).call.name()).join(" "))
  yield* Console.log("columns 0 and 2", (yield* grid.slice({ column: [0, 2] }).call.name()).join(" "))
  yield* Console.log("of those, row 0", (yield* grid.slice({ column: [0, 2] }).slice({ row: 0 }).call.name()).join(" "))
  yield* Console.log("one            ", yield* grid.at({ row: 1, column: 2 }).call.name())
}).pipe(Effect.scoped)

// Where a call goes is the same on every layer; this one needs no processes.
program.pipe(Effect.provide(Cluster.layerMemory), NodeRuntime.runMain)
