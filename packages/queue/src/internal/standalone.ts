/** What the two ends of a queue that stands alone share. */
import * as Schema from "effect/Schema"
import { countBits } from "./doorbell.ts"
import * as Layout from "./layout.ts"
import { headerWords, seal } from "./ring.ts"
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

/** What an end that is not of this package has to know besides the handle. */
export interface Places {
  /** Bytes from the start of the segment: the words of the queue, and the ring. */
  readonly writerParked: number
  readonly phase: number
  readonly written: number
  readonly wantsRoom: number
  readonly data: number
  /** The same of the reader. */
  readonly state: number
  readonly pid: number
  readonly parked: number
  readonly consumed: number
  readonly bell: number
  /** Bytes of a piece's header before its tags, and of these; what its check has besides its numbers. */
  readonly header: number
  readonly tags: number
  readonly seal: number
  /** How many of a parked word's lower bits say for how many messages somebody sleeps. */
  readonly countBits: number
  /** States of a reader that has not attached, and of one that has; the phase of a queue that is closed. */
  readonly open: number
  readonly attached: number
  readonly closed: number
}

export const places = ({ capacity, readers }: Handle, reader: number): Places => {
  const { queue } = Layout
  const { data, tags, wantsRoom, written } = queue.geometry(readers, capacity)
  return {
    writerParked: queue.writerParked * 4,
    phase: queue.phase * 4,
    written: written * 4,
    wantsRoom: wantsRoom * 4,
    data,
    state: queue.state(reader) * 4,
    pid: queue.pid(reader) * 4,
    parked: queue.parked(reader) * 4,
    consumed: queue.consumed(reader) * 4,
    bell: queue.bellName(reader) * 4,
    header: headerWords * 4,
    tags: tags * 4,
    seal,
    countBits,
    open: Layout.State.open,
    attached: Layout.State.attached,
    closed: Phase.closed
  }
}
