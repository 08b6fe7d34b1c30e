/**
 * The queues for workers on the driver's own machine: shared memory where there is such a thing, else Unix sockets.
 */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fs from "node:fs"
import process from "node:process"
import { libc } from "./internal/libc.ts"
import * as ShmQueues from "./ShmQueues.ts"

/** Why shared memory cannot be used here; `undefined` if it can. */
const obstacle = (folder: string): string | undefined => {
  if (process.platform !== "linux") return `it needs Linux, this is ${process.platform}`
  try {
    Fs.accessSync(folder, Fs.constants.W_OK | Fs.constants.X_OK)
    libc()
  } catch (cause) {
    return (cause as Error).message
  }
  return undefined
}

/**
 * Opens in shared memory if this machine can, else over Unix sockets, which it says once in the log; attaches to whichever the handle names.
 * A folder that is there but too small for a group is a `QueueError`, not a reason to fall back. Options as of `ShmQueues`.
 */
export const layerWith = (options: ShmQueues.Options): Layer.Layer<MessageQueues> =>
  Layer.effect(
    MessageQueues,
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const shm = yield* Effect.provide(MessageQueues, ShmQueues.layerWith(options))
      // Loading the sockets' library costs tens of milliseconds, which a worker in shared memory is spared.
      const sockets = yield* Effect.cached(
        Effect.promise(() => import("./IpcQueues.ts")).pipe(
          Effect.flatMap(({ layer }) => Layer.buildWithScope(layer, scope)),
          Effect.flatMap((services) => Effect.provide(MessageQueues, services))
        )
      )
      const reason = obstacle(options.folder ?? ShmQueues.defaultFolder)
      if (reason !== undefined) yield* Effect.logInfo(`Queues go over Unix sockets, not through shared memory: ${reason}`)
      const opener = reason === undefined ? Effect.succeed(shm) : sockets
      return MessageQueues.of({
        open: (publisher) => Effect.flatMap(opener, (queues) => queues.open(publisher)),
        attach: (handle, subscriber) =>
          handle.transport === "shm"
            ? shm.attach(handle, subscriber)
            : Effect.flatMap(sockets, (queues) => queues.attach(handle, subscriber)),
        peers: (lanes) => Effect.flatMap(opener, (queues) => queues.peers(lanes))
      })
    })
  )

/** As `layerWith`, with every option's default. */
export const layer: Layer.Layer<MessageQueues> = layerWith({})
