/** The other end of a bare queue: every frame goes back as it came. Hears where to attach on the IPC channel and lives as long as that. */
import { MessageQueues, type Subscriber } from "@phalanx/core/MessageQueues"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Effect from "effect/Effect"
import process from "node:process"

const serve = Effect.gen(function*() {
  const queues = yield* MessageQueues
  const handle = yield* Effect.callback<any>((resume) => void process.once("message", (handle) => resume(Effect.succeed(handle))))
  const lanes: { subscriber?: Subscriber } = {}
  lanes.subscriber = yield* queues.attach(handle, {
    receive: (frame) => lanes.subscriber!.send(frame),
    lost: () => process.exit()
  })
  process.send!("up")
  return yield* Effect.callback<void>((resume) => void process.once("disconnect", () => resume(Effect.void)))
})

Effect.runFork(serve.pipe(Effect.scoped, Effect.provide(ShmQueues.layer)))
