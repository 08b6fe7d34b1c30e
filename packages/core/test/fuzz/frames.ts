/** Frames as either side reads them, behind the transport: arrays of plain data. */
import * as Headers from "effect/http/Headers"
import * as Schema from "effect/Schema"
import { same } from "../../../../test/harness/data.ts"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { anyValue, mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as Frame from "../../src/internal/frame.ts"
import type { Frame as Holes } from "../../src/MessageQueues.ts"

const { Kind } = Frame
const fence = Frame.fenceOf("0123456789abcdef0123456789abcdef", 3)
const member = 2
const life = 1

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const of = <F extends Schema.Struct.Fields>(kind: number, fields: F) => Schema.Struct({ kind: Schema.Literal(kind), ...fields })
const handle = (random: Random) => ({ transport: "shm", data: { rank: random.below(4) } })

/** What a worker may say, hole by hole. */
const FromWorker = Schema.Union([
  of(Kind.Ready, {}),
  of(Kind.Entered, {}),
  of(Kind.Pong, { beat: Count, stats: Schema.Record(Schema.String, Schema.Finite) }),
  of(Kind.Failed, { phase: Schema.Literals(["import", "setup"]), issue: Schema.String, advice: Schema.String }),
  of(Kind.Success, { id: Count, value: Schema.Any }),
  of(Kind.Failure, { id: Count, exit: Schema.Any }),
  of(Kind.Chunk, { id: Count, values: Schema.Any }),
  of(Kind.Rejected, { id: Count, issue: Schema.String }),
  of(Kind.Join, { generation: Count, handle: Schema.Any }),
  of(Kind.Claimed, {
    driver: Count,
    epoch: Count,
    next: Count,
    generation: Count,
    serves: Schema.Boolean,
    rank: Schema.Int.check(Schema.isGreaterThanOrEqualTo(-1)),
    shape: Schema.Record(Schema.String, Schema.Int.check(Schema.isGreaterThan(0))),
    members: Schema.Array(Count)
  })
])
const isFromWorker = Schema.is(FromWorker)

const fromWorker = (random: Random): Frame.FromWorker => {
  const id = random.below(1000)
  switch (random.below(10)) {
    case 0:
      return { kind: Kind.Ready }
    case 1:
      return { kind: Kind.Entered }
    case 2:
      return { kind: Kind.Pong, beat: id, stats: { frames: id, parked: 0.5 } }
    case 3:
      return { kind: Kind.Failed, phase: random.pick(["import", "setup"]), issue: "no such device", advice: "Plug it in" }
    case 4:
      return { kind: Kind.Success, id, value: anyValue(random) }
    case 5:
      return { kind: Kind.Failure, id, exit: { _tag: "Failure", cause: [{ _tag: "Fail", error: anyValue(random) }] } }
    case 6:
      return { kind: Kind.Chunk, id, values: [anyValue(random)] }
    case 7:
      return { kind: Kind.Rejected, id, issue: "no method" }
    case 8: {
      const [serves, members] = [random.once(2), random.once(2) ? [] : [0, 2, 4, 5]]
      return {
        kind: Kind.Claimed,
        driver: 1,
        epoch: 2,
        next: id,
        generation: 3,
        serves,
        rank: random.below(5) - 1,
        shape: { dp: 2, tp: 2 },
        members
      }
    }
    default:
      return { kind: Kind.Join, generation: id, handle: handle(random) }
  }
}

const kinds: Record<number, string> = Object.fromEntries(Object.entries(Kind).map(([name, kind]) => [kind, name]))

/** Holes of the fence are changed now and then, the others often. */
const mutate = (frame: Holes, random: Random): unknown => {
  if (!Array.isArray(frame) || random.once(4)) return mutateValue(frame, random)
  const at = random.below(frame.length + 1)
  return random.once(6)
    ? frame.toSpliced(at, 0, anyValue(random))
    : frame.toSpliced(at, 1, random.once(8) ? random.below(27) : mutateValue(frame[at], random))
}

/** What comes on the lane of a member: its message, and nothing that it has not said. */
export const replies: Decoder = {
  name: "readReply",
  sample: (random) => {
    const message = fromWorker(random)
    return Frame.reply(message.kind === Kind.Entered ? fence : { ...fence, epoch: 2 }, member, life, message)
  },
  mutate,
  judge: (frame: unknown) => {
    // A transport hands over arrays alone.
    if (!Array.isArray(frame)) return "no frame"
    const message = Frame.readReply(frame, fence, member, life, 2)
    if (typeof message === "string") return message
    holds(isFromWorker(message), "took a message that is none")
    if (message.kind === Kind.Claimed) holds(new Set(message.members).size === message.members.length, "took a member twice")
    holds(frame[1] === fence.mark && frame[3] === member && frame[4] === life, "took somebody else's message")
    holds(same(Frame.reply({ ...fence, epoch: frame[2] }, member, life, message), frame), "read something else than what the frame says")
    return `accepted ${kinds[message.kind]}`
  }
}

const Shape = Schema.Record(Schema.String, Schema.Int.check(Schema.isGreaterThan(0)))
const FromDriver = Schema.Union([
  of(Kind.Request, {
    id: Count,
    method: Schema.String,
    payload: Schema.Any,
    replyFrom: Schema.Int.check(Schema.isGreaterThanOrEqualTo(-1)),
    headers: Schema.NullOr(Schema.Array(Schema.Tuple([Schema.String, Schema.String]))),
    trace: Schema.NullOr(Schema.Struct({ traceId: Schema.String, spanId: Schema.String, sampled: Schema.Boolean })),
    generation: Schema.Int.check(Schema.isGreaterThanOrEqualTo(-1)),
    call: Schema.Int.check(Schema.isGreaterThanOrEqualTo(-1))
  }),
  of(Kind.Epoch, { epoch: Schema.Literal(fence.epoch + 1), shape: Shape, members: Schema.Array(Count), generation: Count }),
  of(Kind.Meet, { generation: Count, rank: Count, ranks: Count }),
  of(Kind.Restoring, { restoring: Schema.Boolean }),
  of(Kind.Interrupt, { id: Count }),
  of(Kind.Ack, { id: Count }),
  of(Kind.Ping, { beat: Count }),
  of(Kind.Peers, { generation: Count, handles: Schema.Array(Schema.Any) }),
  of(Kind.Abort, { generation: Count, issue: Schema.String }),
  of(Kind.Renew, { generation: Count, issue: Schema.String })
])
const isFromDriver = Schema.is(FromDriver)

const fromDriver = (random: Random): Holes => {
  const id = random.below(1000)
  const lives = random.once(2) ? life : [0, 3, life]
  switch (random.below(10)) {
    case 0:
      return Frame.control(fence, life, { kind: random.pick([Kind.Interrupt, Kind.Ack]), id })
    case 1:
      return Frame.control(fence, life, { kind: Kind.Ping, beat: id })
    case 2:
      return Frame.control(fence, life, { kind: Kind.Peers, generation: id, handles: random.list(4, () => handle(random)) })
    case 3:
      return Frame.control(fence, life, { kind: random.pick([Kind.Abort, Kind.Renew]), generation: id, issue: "rank 1 is gone" })
    case 4:
      return Frame.epoch(fence, lives, { epoch: fence.epoch + 1, shape: { dp: 2, tp: 2 }, members: [0, 2, 4, 5], generation: id })
    case 5:
      return Frame.control(fence, life, { kind: Kind.Meet, generation: id, rank: 1, ranks: 4 })
    case 6:
      return Frame.control(fence, life, { kind: Kind.Restoring, restoring: random.once(2) })
    default:
      return Frame.request(fence, lives, {
        id,
        method: "add",
        payload: anyValue(random),
        replyFrom: random.below(5) - 1,
        headers: random.once(2) ? null : [["x-tenant", "t1"], ["b3", "0"]],
        trace: random.once(2) ? null : { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", sampled: true },
        generation: 0,
        call: id - 1
      })
  }
}

const encode = (frame: Holes, message: Frame.FromDriver): Holes => {
  const lives = frame[3] as Frame.Lives
  if (message.kind === Kind.Request) return Frame.request(fence, lives, message)
  if (message.kind === Kind.Epoch) return Frame.epoch(fence, lives, message)
  // One of a former epoch is heard, too.
  return Frame.control({ ...fence, epoch: frame[2] as number }, lives as number, message)
}

/** What a worker hears of its driver. */
export const requests: Decoder = {
  name: "readDriver",
  sample: fromDriver,
  mutate,
  judge: (frame: unknown) => {
    if (!Array.isArray(frame)) return "no frame"
    const message = Frame.readDriver(frame, fence, member, life)
    if (typeof message === "string") return message
    holds(isFromDriver(message), "took a message that is none")
    if (message.kind === Kind.Epoch) holds(new Set(message.members).size === message.members.length, "took a member twice")
    if (message.kind === Kind.Request && message.headers !== null) Headers.fromInput(message.headers as any)
    holds(same(encode(frame, message), frame), "read something else than what the frame says")
    return `accepted ${kinds[message.kind]}`
  }
}
