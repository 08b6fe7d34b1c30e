/**
 * Message queues in shared memory, for a driver and workers on one machine. Linux only.
 *
 * A group takes one segment for its requests and one for each rank with that rank's lanes, both in full when they are made. Files are
 * named `phalanx-…`, have mode 0600 and are gone when the driver's scope closes, whether or not the workers still live then.
 */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Files from "./internal/files.ts"
import * as Layout from "./internal/layout.ts"
import { open } from "./internal/shmDriver.ts"
import { groupBytes, resolve } from "./internal/shmOptions.ts"
import { peers } from "./internal/shmPeers.ts"
import { attach } from "./internal/shmWorker.ts"

/** Where queues are made and how large. */
export interface Options {
  /** Where segments are made: a memory-backed folder, an absolute path. Default `/dev/shm`. */
  readonly folder?: string | undefined
  /** Bytes of a group's request ring, rounded up to a power of two. Default 4 MiB. */
  readonly ringBytes?: number | undefined
  /** Bytes of each reply lane, private lane and lane between two ranks, rounded up to a power of two. Default 256 KiB. */
  readonly laneBytes?: number | undefined
  /**
   * For how long after the last frame a process goes on looking for the next before it sleeps, if frames usually follow each other
   * that closely. Default 100 microseconds; no time at all while a group has more processes than the machine has processors.
   */
  readonly spin?: Duration.Input | undefined
}

/** Where segments are made unless an option says otherwise. */
export const defaultFolder: string = Files.defaultFolder

/** Bytes of the segments' folder that a group takes. */
export interface Need {
  /** From its start. */
  readonly calls: number
  /** What its ranks' lanes to each other take besides, from their first collective operation. */
  readonly collectives: number
}

/** What a group of so many ranks takes with these options. */
export const need = (ranks: number, options: Options = {}): Need => {
  const resolved = resolve(options)
  return { calls: groupBytes(resolved, ranks), collectives: ranks * Layout.peers.bytes(ranks, resolved.laneBytes) }
}

/** Shared-memory queues with these options. Opening and attaching fail with `QueueError`. */
export const layerWith = (options: Options): Layer.Layer<MessageQueues> =>
  Layer.sync(MessageQueues, () => {
    const resolved = resolve(options)
    return MessageQueues.of({
      open: (publisher) => open(resolved, publisher),
      attach: (handle, subscriber) => attach(resolved, handle, subscriber),
      peers: (lanes) => peers(resolved, lanes)
    })
  })

/** Shared-memory queues in `/dev/shm`, with every option's default. */
export const layer: Layer.Layer<MessageQueues> = layerWith({})
