/**
 * Message queues in shared memory, for a driver and workers on one machine. Linux only.
 *
 * A group takes one segment for its requests and one for each rank with that rank's lanes, both in full when they are made. Files are
 * named `phalanx-…`, have mode 0600 and are gone when the driver's scope closes, whether or not the workers still live then.
 */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Segment from "./internal/segment.ts"
import { open } from "./internal/shmDriver.ts"
import { resolve } from "./internal/shmOptions.ts"
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
export const defaultFolder: string = Segment.defaultFolder

/** Removes what a group's processes have left in the folder (default `/dev/shm`): for groups whose driver was killed. Nobody of it may live. */
export const sweep = (group: string, secret: string, folder: string = defaultFolder): Effect.Effect<void> =>
  Effect.sync(() => Segment.sweep(folder, Segment.prefix(group, secret)))

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
