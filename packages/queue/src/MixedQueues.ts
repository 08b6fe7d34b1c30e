/**
 * Message queues of a group that spans hosts: shared memory between processes that see the same segments, TCP between all others, in one group at the same time. Frames keep their order a rank,
 * whatever way a rank is reached; a rank that is started again may be somewhere else. Linux only.
 *
 * Nothing says who is where: see `internal/mixed.ts`. A driver's handles carry both ways, so it makes its segments and binds its port before it knows whether there is anyone on its own host.
 */
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as mixed from "./internal/mixed.ts"
import * as ShmQueues from "./ShmQueues.ts"
import * as TcpQueues from "./TcpQueues.ts"

/** Of both transports. For other hosts to reach it, `host` has to be an address that they can. */
export interface Options extends ShmQueues.Options, TcpQueues.Options {}

const layerOf = (options: Options, sees: mixed.Sees): Layer.Layer<MessageQueues> =>
  Layer.effect(
    MessageQueues,
    Effect.gen(function*() {
      const shm = yield* Effect.provide(MessageQueues, ShmQueues.layerWith(options))
      const tcp = yield* Effect.provide(MessageQueues, TcpQueues.layerWith(options))
      return MessageQueues.of(mixed.make({ shm, tcp }, sees))
    })
  )

/** With these options. Opening and attaching fail with `QueueError`. */
export const layerWith = (options: Options): Layer.Layer<MessageQueues> => layerOf(options, mixed.seesFile)

/** With every option's default, which is the loopback address: for one host. */
export const layer: Layer.Layer<MessageQueues> = layerWith({})
