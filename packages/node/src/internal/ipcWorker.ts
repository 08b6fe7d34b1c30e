/** A worker's end of queues over Node's ipc channel. */
import { MessageQueues, type PeersOptions } from "@phalanx/core/MessageQueues"
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { serialize } from "node:v8"
import type * as ipc from "./ipcMessage.ts"
import { frameOf, isClosed, isPeer } from "./ipcMessage.ts"

type ToDriver = ipc.FrameMessage | ipc.PeerMessage | ipc.FlushMessage

// A channel that broke means that the driver is gone, which ends this process; without a callback it would be thrown here as well.
const send = (message: ToDriver, sent: () => void = () => {}): void => void process.send!(message, undefined, undefined, sent)

const refused = (issue: string): QueueError =>
  new QueueError({
    operation: "attach to",
    where: "the ipc channel",
    issue,
    advice: "Attach in a worker process that NodeCluster started with `transport: \"ipc\"`"
  })

export const layer: Layer.Layer<MessageQueues> = Layer.sync(MessageQueues, () => {
  let line: string | undefined
  let peers: PeersOptions | undefined
  return MessageQueues.of({
    open: () => Effect.fail(refused("this process is a worker")),
    attach: (handle, options) =>
      Effect.suspend(() => {
        if (handle.transport !== "ipc" || process.send === undefined) return Effect.fail(refused("there is none"))
        line = String(handle.data)
        const hear = (message: unknown): void => {
          if (isPeer(message)) return peers?.receive(message.from, message.channel, message.sequence, message.bytes)
          if (isClosed(message)) return options.lost(message.issue)
          const frame = frameOf(message)
          if (frame !== undefined) options.receive(frame)
          else options.lost("the driver sent bytes that are not a frame")
        }
        return Effect.as(
          Effect.acquireRelease(
            Effect.sync(() => process.on("message", hear)),
            () => Effect.sync(() => process.off("message", hear))
          ),
          {
            send: (frame) => send({ lane: "frame", bytes: serialize(frame) }),
            flush: Effect.callback<void>((resume) => send({ lane: "flush" }, () => resume(Effect.void)))
          }
        )
      }),
    peers: (options) =>
      Effect.suspend(() => {
        if (line === undefined) return Effect.fail(refused("lanes between ranks come after those to the driver"))
        peers = options
        return Effect.as(
          Effect.addFinalizer(() => Effect.sync(() => peers = undefined)),
          {
            handle: { transport: "ipc", data: line },
            connect: (handles) =>
              Effect.succeed({
                send: (to, channel, sequence, bytes) =>
                  send({ lane: "peer", line: String(handles[to]!.data), from: options.rank, channel, sequence, bytes })
              })
          }
        )
      })
  })
})
