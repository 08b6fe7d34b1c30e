/**
 * Message queues over Unix sockets, by ZeroMQ: for one machine without shared memory. The sockets are in folders of mode 0700 below the system's temporary folder; nothing is encrypted.
 */
import type { MessageQueues } from "@phalanx/core/MessageQueues"
import type * as Duration from "effect/Duration"
import type * as Layer from "effect/Layer"
import * as internal from "./internal/zmqQueues.ts"

/** Settings of both ends. */
export interface Options {
  /** Messages under way on one lane; further ones wait at the writer. Default 1024. */
  readonly highWater?: number | undefined
  /** Bytes under way on one lane; further ones wait at the writer. Default 8 MiB. */
  readonly highWaterBytes?: number | undefined
  /** For how long a connection may be lost, or an answer to `attach` may take, before it is given up. Default 10 seconds. */
  readonly deadline?: Duration.Input | undefined
  /** For how long closing waits until the other ends have what was sent. Default 500 milliseconds. */
  readonly flush?: Duration.Input | undefined
}

/** Queues over Unix sockets with these options. Opening and attaching fail with `QueueError`. */
export const layerWith: (options: Options) => Layer.Layer<MessageQueues> = internal.ipc

/** As `layerWith`, with every option's default. */
export const layer: Layer.Layer<MessageQueues> = layerWith({})
