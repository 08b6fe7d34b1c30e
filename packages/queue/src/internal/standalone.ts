/** What the two ends of a queue that stands alone share. */
import * as Schema from "effect/Schema"
import { Folder, Length, Name } from "./shmOptions.ts"

/** All that a reader needs to attach: plain data. */
export const Handle = Schema.Struct({
  folder: Folder,
  segment: Name,
  /** The writer's doorbell. */
  bell: Name,
  readers: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1024 })),
  capacity: Length,
  spinMicros: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
})
export type Handle = typeof Handle.Type

/** A reader that has not read what was published. */
export const Behind = Schema.Struct({
  reader: Schema.Int,
  /** 0 if it has not attached. */
  pid: Schema.Int,
  bytes: Schema.Int
})
export type Behind = typeof Behind.Type

/** A sentence about each, for errors and the log. */
export const describe = (behind: ReadonlyArray<Behind>): string =>
  behind.map(({ bytes, pid, reader }) => `reader ${reader} (${pid === 0 ? "not attached" : `process ${pid}`}) is ${bytes} bytes behind`)
    .join(", ")

/** There was no room in time. The message was not published. */
export class QueueTimeout extends Schema.TaggedError<QueueTimeout>()("QueueTimeout", {
  queue: Schema.String,
  /** Readers that kept the room, the slowest first. */
  behind: Schema.Array(Behind)
}) {
  override get message(): string {
    return `no room in queue ${this.queue}: ${describe(this.behind)}`
  }
}

/** The writer has closed the queue, and all that it published before has been read; or this reader was removed. */
export class QueueClosed extends Schema.TaggedError<QueueClosed>()("QueueClosed", { queue: Schema.String }) {
  override get message(): string {
    return `queue ${this.queue} is closed`
  }
}

/** What the phase word says. */
export const Phase = { attaching: 0, ready: 1, closed: 2 } as const
