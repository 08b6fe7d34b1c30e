/**
 * Message queues over TCP, by ZeroMQ: between machines.
 *
 * A driver binds one address, on a port that the system chose unless one was asked for, and names it in the handles; nothing listens on
 * any other interface. Everything is encrypted and authenticated with keys made for that group (CURVE), and only who holds a
 * handle can say anything at all. A lost connection is made again and frames that were under way are sent again: it is news only
 * when it stays lost for `deadline`.
 */
import type { MessageQueues } from "@phalanx/core/MessageQueues"
import type * as Layer from "effect/Layer"
import type * as Metric from "effect/Metric"
import * as internal from "./internal/zmqQueues.ts"
import type * as IpcQueues from "./IpcQueues.ts"

/** Settings of both ends. `host`, `port` and `advertise` concern the sockets that a process binds: a driver's, and each rank's own for its peers. */
export interface Options extends IpcQueues.Options {
  /** The one address to bind: an address of this machine, or a name of one. Default `127.0.0.1`. */
  readonly host?: string | undefined
  /** A port, the first free one of a range (both ends included), or 0 for one that the system chooses. Default 0. */
  readonly port?: number | { readonly first: number; readonly last: number } | undefined
  /** The host named in handles where it is another one than was bound, as behind a translated address. Default: the bound one. */
  readonly advertise?: string | undefined
}

/** Counts what was refused: bytes that are no message, unknown identities, failed handshakes. `IpcQueues` count here, too. */
export const refused: Metric.Counter<number> = internal.refused

/** Queues over TCP with these options. Opening and attaching fail with `QueueError`. */
export const layerWith: (options: Options) => Layer.Layer<MessageQueues> = internal.tcp

/** Queues over TCP on this machine's loopback address, with every option's default. */
export const layer: Layer.Layer<MessageQueues> = layerWith({})
