/**
 * Message queues over ZeroMQ: TCP between machines, or Unix sockets on one machine without shared memory.
 *
 * A driver binds one address, on a port that the system chose unless one was asked for, and names it in the handles; nothing listens on
 * any other interface. On TCP everything is encrypted and authenticated with keys made for that group (CURVE), and only who holds a
 * handle can say anything at all. A lost connection is made again and frames that were under way are sent again: it is news only
 * when it stays lost for `deadline`.
 */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { peers } from "./internal/zmqPeers.ts"
import { open } from "./internal/zmqPublisher.ts"
import type { Resolved } from "./internal/zmqSocket.ts"
import { attach } from "./internal/zmqSubscriber.ts"

/** Settings of both ends. `host`, `port` and `advertise` concern the sockets that a process binds: a driver's, and each rank's own for its peers. */
export interface Options {
  /** The one address to bind: an address of this machine, or a name of one. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** A port, the first free one of a range (both ends included), or 0 for one that the system chooses. Default 0. */
  readonly port?: number | { readonly first: number; readonly last: number } | undefined
  /** The host named in handles where it is another one than was bound, as behind a translated address. Default: the bound one. */
  readonly advertise?: string | undefined
  /** Messages under way on one lane; further ones wait at the writer. Default 1024. */
  readonly highWater?: number | undefined
  /** Bytes under way on one lane; further ones wait at the writer. Default 8 MiB. */
  readonly highWaterBytes?: number | undefined
  /** For how long a connection may be lost, or an answer to `attach` may take, before it is given up. Default 10 seconds. */
  readonly deadline?: Duration.Input | undefined
  /** For how long closing waits until the other ends have what was sent. Default 500 milliseconds. */
  readonly flush?: Duration.Input | undefined
}

/** Counts what was refused: bytes that are no message, unknown identities, failed handshakes. */
export const refused: Metric.Counter<number> = Metric.counter("phalanx_queue_refused", {
  description: "Messages and connections that ZeroMQ queues refused",
  incremental: true
})

const make = (kind: Resolved["kind"], options: Options) => {
  const port = options.port ?? 0
  const resolved: Resolved = {
    kind,
    host: options.host ?? "127.0.0.1",
    ports: typeof port === "number" ? [port, port] : [port.first, port.last],
    advertise: options.advertise,
    frames: Math.max(16, options.highWater ?? 1024),
    bytes: Math.max(64 * 1024, options.highWaterBytes ?? 8 * 1024 * 1024),
    deadlineMillis: Duration.toMillis(options.deadline ?? "10 seconds"),
    flushMillis: Duration.toMillis(options.flush ?? "500 millis")
  }
  return Layer.effect(
    MessageQueues,
    Effect.gen(function*() {
      const context = yield* Effect.context<never>()
      const count = () => refused.updateUnsafe(1, context)
      return MessageQueues.of({ open: open(resolved, count), attach: attach(resolved), peers: peers(resolved, count) })
    })
  )
}

/** Queues over TCP with these options. Opening and attaching fail with `QueueError`. */
export const layerWith = (options: Options): Layer.Layer<MessageQueues> => make("tcp", options)

/** Queues over TCP on this machine's loopback address, with every option's default. */
export const layer: Layer.Layer<MessageQueues> = layerWith({})

/** Queues over Unix sockets in folders of mode 0700 below the system's temporary folder; not encrypted. */
export const layerIpc: Layer.Layer<MessageQueues> = make("ipc", {})
