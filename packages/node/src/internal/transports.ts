/** Which queues a cluster's groups use. Only the modules of the transport in use are loaded, in the driver and in every worker. */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** What both ends need to know of the transport besides the handle. */
export interface QueueOptions {
  readonly folder?: string
  readonly host?: string
}

export const layer = (transport: string, options: QueueOptions): Layer.Layer<MessageQueues, QueueError> => {
  switch (transport) {
    case "shm":
      return Layer.unwrap(Effect.map(Effect.promise(() => import("@phalanx/queue/ShmQueues")), (shm) => shm.layerWith(options)))
    case "ipc":
      return Layer.unwrap(Effect.map(Effect.promise(() => import("./ipcWorker.ts")), (ipc) => ipc.layer))
    default:
      return Layer.effect(MessageQueues, Effect.fail(unknown(transport)))
  }
}

const unknown = (transport: string): QueueError =>
  new QueueError({
    operation: "use",
    where: `transport ${transport}`,
    issue: "a worker process does not know it",
    advice: "Use the queues that the layers of NodeCluster provide: shm, tcp or ipc"
  })
