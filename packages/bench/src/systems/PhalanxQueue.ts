/**
 * Phalanx's queue alone: a frame that holds bytes is packed, published, read and sent back by a worker process, with callbacks and no Effect
 * on the way. Over shared memory, every option its default.
 */
import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { end } from "../internal/child.ts"
import { callbacks } from "../Sampling.ts"
import { buffer, type System } from "../System.ts"

const PhalanxQueue: System = {
  start: async ({ bytes }) => {
    const scope = Scope.makeUnsafe()
    let answer: ((answers: ReadonlyArray<number>) => void) | undefined
    const [publisher, handle] = await Effect.runPromise(
      Effect.gen(function*() {
        const queues = yield* MessageQueues.MessageQueues
        const publisher = yield* queues.open({
          group: "hop",
          secret: "0123456789abcdef0123456789abcdef",
          ranks: 1,
          receive: (_, [bytes]) => answer?.([(bytes as Uint8Array).length]),
          lost: (_, issue) => {
            throw new Error(issue)
          }
        })
        return [publisher, yield* publisher.connect(0, 0)] as const
      }).pipe(Effect.provide(ShmQueues.layer), Scope.provide(scope))
    )
    const child = fork(fileURLToPath(new URL("../workers/hopWorker.ts", import.meta.url)), {
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    child.send(handle)
    await once(child, "message")
    const x = new Uint8Array(buffer(bytes))
    return {
      pids: [child.pid!],
      sample: callbacks(1, bytes, (answered) => {
        answer = answered
        publisher.publish(publisher.pack([x]), [0])
      }),
      stop: async () => {
        await end([child])
        await Effect.runPromise(Scope.close(scope, Exit.void))
      }
    }
  }
}
export default PhalanxQueue
