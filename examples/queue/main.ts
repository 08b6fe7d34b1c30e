import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import { Console, Effect, Fiber } from "effect"
import * as ChildProcess from "effect/process/ChildProcess"
import { ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { fileURLToPath } from "node:url"

const readers = 3

/** One writer, three reading processes, every message to each of them. */
const program = Effect.gen(function*() {
  const spawner = yield* ChildProcessSpawner
  const writer = yield* MessageQueue.make({ readers })
  const read = (index: number) =>
    spawner.string(ChildProcess.make(process.execPath, [
      fileURLToPath(new URL("./reader.ts", import.meta.url)),
      JSON.stringify(writer.handle),
      `${index}`
    ], { extendEnv: true }))
  const reading = yield* Effect.forEach(Array.from({ length: readers }, (_, index) => index), (index) => Effect.forkChild(read(index)))
  yield* writer.ready
  for (let n = 1; n <= 20_000; n++) yield* writer.publish({ n })
  yield* writer.close
  for (const said of yield* Fiber.joinAll(reading)) yield* Console.log(said.trim())
}).pipe(Effect.scoped)

program.pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
