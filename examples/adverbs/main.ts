import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { Console, Effect, Exit, Fiber, Stream } from "effect"
import { Squad } from "./worker.ts"

const program = Effect.gen(function*() {
  const squad = yield* WorkerGroup.make(Squad, { mesh: Mesh.make({ dp: 4 }), entry: new URL("./worker.ts", import.meta.url) })

  yield* Console.log("call      ", yield* squad.call.march({ steps: 10 }))
  yield* Console.log("per rank  ", yield* squad.call.march(({ rank }) => ({ steps: rank * 10 })))
  yield* Console.log("replyFrom ", yield* squad.call.march({ steps: 10 }, { replyFrom: 2 }))
  yield* Console.log("at        ", yield* squad.at(1).call.march({ steps: 10 }))

  const exits = yield* squad.exits.march({ steps: 101 })
  yield* Console.log("exits     ", exits.map((exit) => Exit.isSuccess(exit) ? exit.value : "failed"))

  const fibers = yield* squad.fork.march({ steps: 20 })
  yield* Console.log("fork      ", yield* Fiber.joinAll(fibers))

  const replies = yield* Stream.runCollect(squad.stream.march({ steps: 30 }))
  yield* Console.log("stream    ", replies.map(({ rank, value }) => `${rank}: ${value}`).sort())

  yield* squad.broadcast.march({ steps: 40 })
  yield* Console.log("broadcast ", yield* squad.call.orders())

  const caught = squad.call.march({ steps: 101 }).pipe(
    Effect.catchReason("CallError", "Tired", (tired, error) => Effect.succeed(`rank ${tired.rank} is tired of ${error.method}`))
  )
  yield* Console.log("caught    ", yield* caught)
}).pipe(Effect.scoped)

program.pipe(Effect.provide(NodeCluster.layer), NodeRuntime.runMain)
