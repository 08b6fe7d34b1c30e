import { QueueError } from "@phalanx/core/QueueError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Os from "node:os"
import * as Path from "node:path"
import { defaultFolder, isName } from "./files.ts"
import * as Layout from "./layout.ts"

/** What one layer's queues have in common. */
export interface Resolved {
  readonly folder: string
  readonly ringBytes: number
  readonly laneBytes: number
  readonly spinMicros: number
}

/** A ring's length: a power of two, a page at least. */
export const powerOfTwo = (bytes: number): number => Math.max(4096, 2 ** Math.ceil(Math.log2(bytes)))

export const resolve = (options: {
  readonly folder?: string | undefined
  readonly ringBytes?: number | undefined
  readonly laneBytes?: number | undefined
  readonly spin?: Duration.Input | undefined
}): Resolved => ({
  folder: options.folder ?? defaultFolder,
  ringBytes: powerOfTwo(options.ringBytes ?? 4 * 1024 * 1024),
  laneBytes: powerOfTwo(options.laneBytes ?? 256 * 1024),
  spinMicros: Duration.toMillis(options.spin ?? "100 micros") * 1000
})

/** The lanes of a rank. */
export const laneSizes = ({ laneBytes }: Resolved): Layout.LaneSizes => ({
  control: Math.max(4096, laneBytes / 4),
  private: laneBytes,
  reply: laneBytes
})

/** What the driver's segments of a group take in all. */
export const groupBytes = (layer: Resolved, ranks: number): number =>
  Layout.group.bytes(layer.ringBytes) + ranks * Layout.rank.bytes(laneSizes(layer))

/** The largest frame, in bytes. */
export const frameLimit = 0x8000_0000

/** Small frames are put together in memory that is kept, and copied out of it; larger ones in memory of their own, which goes on with them. */
export const keptFrame = 0x1_0000
export const keptBytes = 0x4000

/** At most so many frames of one lane are delivered before the others are looked at. */
export const batch = 64

// Asking costs microseconds, and the answer decides at every turn.
const processors = Os.availableParallelism()

/** Microseconds of looking, unless the group has more processes than this machine has processors for us. */
export const spinWith = (options: Resolved, processes: number): number => processes > processors ? 0 : options.spinMicros

const nameOfAFile = Schema.makeFilter((name: string) => isName(name) || "not the name of a segment")
/** The name of a segment or a doorbell. */
export const Name = Schema.String.check(nameOfAFile)
export const Folder = Schema.String.check(Schema.makeFilter((path: string) => Path.isAbsolute(path) || "not the path of a folder"))
/** The length of a ring. */
export const Length = Schema.Int.check(
  Schema.isBetween({ minimum: 4096, maximum: 2 ** 30 }),
  Schema.makeFilter((bytes: number) => powerOfTwo(bytes) === bytes || "not a power of two")
)
const members = {
  rank: Schema.Natural,
  ranks: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65536 }))
}
const isMember = Schema.makeFilter(({ rank, ranks }: { readonly rank: number; readonly ranks: number }) =>
  rank < ranks || `no rank ${rank} of ${ranks}`
)

export const GroupHandle = Schema.Struct({
  folder: Folder,
  ring: Name,
  lanes: Name,
  bell: Name,
  incarnation: Schema.Natural,
  ...members,
  ringBytes: Length,
  control: Length,
  private: Length,
  reply: Length
}).check(isMember)

export const PeerHandle = Schema.Struct({ folder: Folder, segment: Name, bell: Name, ...members, laneBytes: Length }).check(isMember)

/** What came as a handle is none of ours. */
export const invalidHandle = (transport: string) => (error: Schema.SchemaError): QueueError =>
  new QueueError({
    operation: "attach to",
    where: `handle of transport ${JSON.stringify(transport)}`,
    issue: error.message.split("\n").join(" "),
    advice: "Pass the handle on unchanged, and attach with the layer that made it"
  })

/** The schema-checked data of a handle that came from elsewhere. */
export const decode = <A>(schema: Schema.Decoder<A>, handle: { readonly transport: string; readonly data: unknown }) =>
  Schema.decodeUnknownEffect(schema)(handle.transport === "shm" ? handle.data : undefined).pipe(
    Effect.mapError(invalidHandle(handle.transport))
  )

/** The bytes of a mapped segment are not what its handle says. */
export const mismatch = (where: string): QueueError =>
  new QueueError({
    operation: "attach to segment",
    where,
    issue: "its header does not fit the handle",
    advice: "Use the same version of @phalanx/queue in the driver and in the workers"
  })
