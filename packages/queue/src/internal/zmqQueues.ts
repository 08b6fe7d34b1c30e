/** Queues over ZeroMQ, of either kind. */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as IpcQueues from "../IpcQueues.ts"
import type * as TcpQueues from "../TcpQueues.ts"
import { peers } from "./zmqPeers.ts"
import { open } from "./zmqPublisher.ts"
import type { Resolved } from "./zmqSocket.ts"
import { attach } from "./zmqSubscriber.ts"

/** Counts what was refused: bytes that are no message, unknown identities, failed handshakes. */
export const refused: Metric.Counter<number> = Metric.counter("phalanx_queue_refused", {
  description: "Messages and connections that ZeroMQ queues refused",
  incremental: true
})

const resolve = (
  { deadline = "10 seconds", flush = "500 millis", highWater = 1024, highWaterBytes = 8 * 1024 * 1024 }: IpcQueues.Options
) => ({
  frames: Math.max(16, highWater),
  bytes: Math.max(64 * 1024, highWaterBytes),
  deadlineMillis: Duration.toMillis(deadline),
  flushMillis: Duration.toMillis(flush)
})

const layer = (resolved: Resolved): Layer.Layer<MessageQueues> =>
  Layer.effect(
    MessageQueues,
    Effect.gen(function*() {
      const context = yield* Effect.context<never>()
      const count = () => refused.updateUnsafe(1, context)
      return MessageQueues.of({ open: open(resolved, count), attach: attach(resolved), peers: peers(resolved, count) })
    })
  )

/** Over TCP. */
export const tcp = ({ advertise, host = "127.0.0.1", port = 0, ...options }: TcpQueues.Options): Layer.Layer<MessageQueues> =>
  layer({
    kind: "tcp",
    host,
    ports: typeof port === "number" ? [port, port] : [port.first, port.last],
    advertise,
    ...resolve(options)
  })

/** Over Unix sockets. */
export const ipc = (options: IpcQueues.Options): Layer.Layer<MessageQueues> =>
  layer({ kind: "ipc", host: "127.0.0.1", ports: [0, 0], advertise: undefined, ...resolve(options) })
