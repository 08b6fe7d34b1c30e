import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import { Console, Effect, Stream } from "effect"

/** Adds up all that is published until the queue is closed. */
const program = Effect.gen(function*() {
  const [handle, index] = process.argv.slice(2)
  const reader = yield* MessageQueue.attach(JSON.parse(handle!), Number(index))
  const sum = yield* Stream.runFold(reader.stream, () => 0, (total, message) => total + (message as { readonly n: number }).n)
  yield* Console.log(`reader ${index}: ${sum}`)
}).pipe(Effect.scoped)

NodeRuntime.runMain(program)
