import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as RpcServer from "effect/rpc/RpcServer"
import type { Cluster, End } from "../Cluster.ts"
import { MessageQueues } from "../MessageQueues.ts"
import * as serve from "./serve.ts"
import { Streaming } from "./streaming.ts"

/** Workers as fibers. A kill cuts the fiber's frames off before it interrupts, so that what its finalizers say is not heard, as a signal would have it. */
export const make: Effect.Effect<Cluster["Service"], never, MessageQueues> = Effect.map(MessageQueues, (queues) => ({
  spawn: Effect.fnUntraced(function*({ entry, identity }) {
    const end = Deferred.makeUnsafe<End>()
    let killed: "SIGTERM" | "SIGKILL" | undefined
    const cuttable: MessageQueues["Service"] = {
      ...queues,
      attach: (handle, options) =>
        Effect.map(queues.attach(handle, options), (subscriber) => ({
          ...subscriber,
          send: (frame) => killed === "SIGKILL" ? undefined : subscriber.send(frame)
        }))
    }
    const fiber = yield* serve.run(entry, identity, "memory").pipe(
      Effect.provideService(MessageQueues, cuttable),
      Effect.provideService(Streaming, Effect.succeed(RpcServer)),
      Effect.onExit((exit) =>
        Deferred.succeed(end, {
          death: killed !== undefined
            ? { _tag: "Killed", signal: killed }
            : { _tag: "Exited", code: exit._tag === "Success" ? 0 : 1 },
          stderr: exit._tag === "Failure" && !Cause.hasInterruptsOnly(exit.cause) ? [String(Cause.squash(exit.cause))] : []
        })
      ),
      Effect.exit,
      Effect.forkScoped({ startImmediately: true })
    )
    return {
      node: "memory",
      pid: undefined,
      end: Deferred.await(end),
      stderr: Effect.succeed([]),
      kill: (signal) =>
        Effect.sync(() => {
          killed ??= signal
          fiber.interruptUnsafe()
        })
    }
  })
}))
