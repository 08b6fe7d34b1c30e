/** Which queues a cluster's groups use. Only the modules of the transport in use are loaded, in the driver and in every worker. */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import { QueueError } from "@phalanx/core/QueueError"
import type * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Settings of both ends. */
export interface Settings {
  readonly folder?: string | undefined
  readonly host?: string | undefined
  readonly port?: TcpQueues.Options["port"]
}

const load = <A>(name: string, module: () => Promise<A>): Effect.Effect<A, QueueError> =>
  Effect.tryPromise({
    try: module,
    catch: (cause) =>
      new QueueError({
        operation: "load",
        where: `transport ${name}`,
        issue: cause instanceof Error ? cause.message : String(cause),
        advice: "Choose another `transport`, or install the dependencies of @phalanx/queue for this platform"
      })
  })

/** Shared memory, or Unix sockets on a machine that has none. */
export const layerDefault = (settings: Settings): Layer.Layer<MessageQueues, QueueError> =>
  Layer.unwrap(Effect.map(load("shm", () => import("@phalanx/queue/Queues")), (queues) => queues.layerWith(settings)))

const shm = (settings: Settings) =>
  Effect.map(load("shm", () => import("@phalanx/queue/ShmQueues")), (queues) => queues.layerWith(settings))

/** The queues of one transport, by the name that its handles bear. */
export const layer = (transport: string, settings: Settings): Layer.Layer<MessageQueues, QueueError> => {
  switch (transport) {
    case "shm":
      return Layer.unwrap(shm(settings))
    case "tcp":
      return Layer.unwrap(Effect.map(load("tcp", () => import("@phalanx/queue/TcpQueues")), (queues) => queues.layerWith(settings)))
    case "mixed":
      return Layer.unwrap(Effect.map(load("mixed", () => import("@phalanx/queue/MixedQueues")), (queues) => queues.layerWith(settings)))
    case "ipc":
      return Layer.unwrap(Effect.map(load("ipc", () => import("@phalanx/queue/IpcQueues")), (queues) => queues.layer))
    default:
      return Layer.effect(
        MessageQueues,
        Effect.fail(
          new QueueError({
            operation: "use",
            where: `transport ${transport}`,
            issue: "a worker process does not know it",
            advice: "Use the queues that the layers of NodeCluster provide: shm, tcp, ipc or mixed"
          })
        )
      )
  }
}
