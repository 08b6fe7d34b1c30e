/**
 * What a group's driver says of its group at one moment, for whoever looks on from outside: who belongs to it, what each rank has been asked and
 * has not answered, and how full its window is. Plain data, made of what the driver knows: no worker is asked.
 */
import * as Schema from "effect/Schema"

/** A request that a rank has not answered. */
export const Request = Schema.Struct({
  /** The call's number: one call has the same on every rank that it went to. */
  id: Schema.Int,
  method: Schema.String,
  /** Since the call was made. */
  ageMillis: Schema.Finite,
  /** It has been sent. What has not waits for room in the rank's window, or for the rank's next life. */
  admitted: Schema.Boolean,
  /** Nobody waits for the answer any more: the worker has been told to stop. */
  abandoned: Schema.Boolean
})
export type Request = typeof Request.Type

/** One member of the group. */
export const Member = Schema.Struct({
  /** The member's number for life. */
  id: Schema.Int,
  rank: Schema.Int,
  incarnation: Schema.Int,
  /** `starting`: its first life does not serve yet. `restarting`: calls to it wait until it serves again. `dead`: they fail; it may still be restarting. */
  state: Schema.Literals(["starting", "serving", "restarting", "dead"]),
  /** The oldest that are open, in the order in which they were made; `most` of them. */
  open: Schema.Array(Request),
  /** How many requests have been sent and not answered, and their bytes. */
  requests: Schema.Int,
  bytes: Schema.Int,
  /** How many requests wait to be sent. */
  waiting: Schema.Int
})
export type Member = typeof Member.Type

/** A group at one moment. */
export const Snapshot = Schema.Struct({
  epoch: Schema.Int,
  /** The sizes of the mesh's dimensions, in order. */
  mesh: Schema.Record(Schema.String, Schema.Int),
  /** What a rank may have open at once. */
  window: Schema.Struct({ requests: Schema.Int, bytes: Schema.Int }),
  /** In rank order. */
  members: Schema.Array(Member),
  /** As of `WorkerGroup.Counters`. */
  counters: Schema.Struct({ late: Schema.Int, unexpected: Schema.Int, fenced: Schema.Int })
})
export type Snapshot = typeof Snapshot.Type

/** How many open requests of a member are told one by one. */
export const most = 64
