/** Who a worker is. A module of its own, for a worker's process needs it and nothing else of `Cluster`. */
import * as Schema from "effect/Schema"
import * as MessageQueues from "./MessageQueues.ts"

const mostRanks = 65536

/** Who a worker is and how it reaches its driver: plain data, given to it when it starts, on no command line. */
export const Identity = Schema.Struct({
  group: Schema.String,
  secret: Schema.String,
  /** The member's number for life, by which the transport addresses it. */
  member: Schema.Natural,
  rank: Schema.Natural,
  incarnation: Schema.Natural,
  epoch: Schema.Natural,
  /** Which life of the group's collectives it takes part in. */
  generation: Schema.Natural,
  /** `rank` and `shape` are those of the next epoch, which it waits for. */
  joining: Schema.optionalKey(Schema.Boolean),
  /** The sizes of the mesh's dimensions, in order. */
  shape: Schema.Record(Schema.String, Schema.Int.check(Schema.isGreaterThan(0))),
  handle: MessageQueues.Handle
}).check(Schema.makeFilter(({ rank, shape }: { readonly rank: number; readonly shape: Readonly<Record<string, number>> }) => {
  const ranks = Object.values(shape).reduce((product, size) => product * size, 1)
  return (rank < ranks && ranks <= mostRanks) || `no rank ${rank} of ${ranks}, which are ${mostRanks} at most`
}))
export type Identity = typeof Identity.Type
