import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Os from "node:os"

/** What one layer's queues have in common. */
export interface Resolved {
  readonly folder: string
  readonly ringBytes: number
  readonly laneBytes: number
  readonly spinMicros: number
}

/** The largest frame, in bytes. */
export const frameLimit = 0x8000_0000

/** At most so many frames of one lane are delivered before the others are looked at. */
export const batch = 64

// Asking costs microseconds, and the answer decides at every turn.
const processors = Os.availableParallelism()

/** Microseconds of looking, unless the group has more processes than this machine has processors for us. */
export const spinWith = (options: Resolved, processes: number): number =>
  processes > processors ? 0 : options.spinMicros

const Power = Schema.Int.check(Schema.isBetween({ minimum: 4096, maximum: 2 ** 30 }))

export const GroupHandle = Schema.Struct({
  folder: Schema.String,
  ring: Schema.String,
  lanes: Schema.String,
  bell: Schema.String,
  rank: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65535 })),
  incarnation: Schema.Int,
  ranks: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65536 })),
  ringBytes: Power,
  control: Power,
  private: Power,
  reply: Power
})

export const PeerHandle = Schema.Struct({
  folder: Schema.String,
  segment: Schema.String,
  bell: Schema.String,
  rank: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65535 })),
  ranks: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65536 })),
  laneBytes: Power
})

/** The schema-checked data of a handle that came from elsewhere. */
export const decode = <A>(schema: Schema.Decoder<A>, handle: { readonly transport: string; readonly data: unknown }) =>
  Schema.decodeUnknownEffect(schema)(handle.transport === "shm" ? handle.data : undefined).pipe(
    Effect.mapError((error) =>
      new QueueError({
        operation: "attach to",
        where: `handle of transport ${JSON.stringify(handle.transport)}`,
        issue: String(error.message).split("\n").join(" "),
        advice: "Attach with the handle that the driver's publisher made, and with the layer of the same transport"
      })
    )
  )

/** The bytes of a mapped segment are not what its handle says. */
export const mismatch = (where: string): QueueError =>
  new QueueError({
    operation: "attach to segment",
    where,
    issue: "its header does not fit the handle",
    advice: "Use the same version of @phalanx/queue in the driver and in the workers"
  })
