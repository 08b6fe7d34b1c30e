/**
 * What driver and workers say to each other: arrays of plain data whose first five or six holes are the fence. `WIRE.md` of `@phalanx/queue`
 * has them in words. A frame comes from another process, so its shape is checked before it is believed.
 */
import type { Frame, Stats } from "../MessageQueues.ts"
import { noCall } from "./calls.ts"

export const Kind = {
  // driver → worker
  Request: 0,
  Interrupt: 1,
  Ack: 2,
  Peers: 3,
  Abort: 4,
  Epoch: 5,
  Ping: 6,
  Renew: 7,
  Meet: 8,
  Restoring: 9,
  // worker → driver
  Ready: 16,
  Failed: 17,
  Success: 18,
  Failure: 19,
  Chunk: 20,
  Rejected: 21,
  Join: 22,
  Entered: 23,
  Pong: 24,
  Claimed: 25
} as const

/** How many holes a frame has. */
const holes: Readonly<Record<number, number>> = {
  [Kind.Request]: 12,
  [Kind.Interrupt]: 5,
  [Kind.Ack]: 5,
  [Kind.Peers]: 6,
  [Kind.Abort]: 6,
  [Kind.Epoch]: 8,
  [Kind.Ping]: 5,
  [Kind.Renew]: 6,
  [Kind.Meet]: 7,
  [Kind.Restoring]: 5,
  [Kind.Ready]: 5,
  [Kind.Failed]: 8,
  [Kind.Success]: 7,
  [Kind.Failure]: 7,
  [Kind.Chunk]: 7,
  [Kind.Rejected]: 7,
  [Kind.Join]: 7,
  [Kind.Entered]: 5,
  [Kind.Pong]: 7,
  [Kind.Claimed]: 12
}

/** Which life of which membership of which group a frame belongs to. A frame whose fence differs changes nothing and is counted. */
export interface Fence {
  readonly secret: string
  /** What frames bear of the secret: 48 bits of it, as a number, which costs a fraction of 32 digits. Strangers are kept out by the transport. */
  readonly mark: number
  readonly epoch: number
}

export const fenceOf = (secret: string, epoch: number): Fence => ({ secret, mark: Number.parseInt(secret.slice(0, 12), 16), epoch })

export interface Trace {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

export interface Request {
  readonly kind: typeof Kind.Request
  readonly id: number
  readonly method: string
  readonly payload: unknown
  /** The one rank whose reply is wanted, or −1: all. */
  readonly replyFrom: number
  readonly headers: ReadonlyArray<readonly [string, string]> | null
  readonly trace: Trace | null
  /** Of the collectives, when the call was made: its handlers meet in that one or not at all. `noGeneration`: not at all. */
  readonly generation: number
  /** Which call it is of: the same for all ranks, and greater than those that a rank was given before. `noCall`: its handlers meet as those of no call do. */
  readonly call: number
}
/** Another membership: requests before it are of the former epoch, those after it of this one. */
export interface Epoch {
  readonly kind: typeof Kind.Epoch
  readonly epoch: number
  readonly shape: Readonly<Record<string, number>>
  /** The members' ids in rank order. */
  readonly members: ReadonlyArray<number>
  /** Of the collectives that this epoch begins with. */
  readonly generation: number
}
/** Of a request that not every rank of its call is given. */
export const noGeneration = -1

/** What only a control lane carries. */
export type Control =
  | { readonly kind: typeof Kind.Interrupt; readonly id: number }
  | { readonly kind: typeof Kind.Ack; readonly id: number }
  | { readonly kind: typeof Kind.Peers; readonly generation: number; readonly handles: ReadonlyArray<unknown> }
  /** The generation of collectives is over. */
  | { readonly kind: typeof Kind.Abort; readonly generation: number; readonly issue: string }
  /** The generation has begun; every former one is over. */
  | { readonly kind: typeof Kind.Renew; readonly generation: number; readonly issue: string }
  | { readonly kind: typeof Kind.Ping; readonly beat: number }
  /** Take part as `rank` of `ranks` in a generation that is prepared beside the one that serves, and say at once where. */
  | { readonly kind: typeof Kind.Meet; readonly generation: number; readonly rank: number; readonly ranks: number }
  /** Whether its driver has yet to bring it its state: if that driver is gone, nobody will. */
  | { readonly kind: typeof Kind.Restoring; readonly restoring: boolean }
export type FromDriver = Request | Epoch | Control

/** A request goes to many members in one frame, so it says the incarnation it means of each: one number if they are equal, else one a member. */
export type Lives = number | ReadonlyArray<number>

export const request = (fence: Fence, lives: Lives, r: Omit<Request, "kind">): Frame => [
  Kind.Request,
  fence.mark,
  fence.epoch,
  lives,
  r.id,
  r.method,
  r.payload,
  r.replyFrom,
  r.headers,
  r.trace === null ? null : [r.trace.traceId, r.trace.spanId, r.trace.sampled],
  r.generation,
  r.call
]

/** The same request for what its member is now: it waited while the group went on. */
export const restamp = (frame: Frame, fence: Fence, lives: Lives, id: number): Frame =>
  frame.with(2, fence.epoch).with(3, lives).with(4, id)

/** Bears the former epoch, whose last frame it is. */
export const epoch = (former: Fence, lives: Lives, e: Omit<Epoch, "kind">): Frame => [
  Kind.Epoch,
  former.mark,
  former.epoch,
  lives,
  e.epoch,
  e.shape,
  e.members,
  e.generation
]

export const control = (fence: Fence, life: number, c: Control): Frame => {
  const head = [c.kind, fence.mark, fence.epoch, life]
  switch (c.kind) {
    case Kind.Interrupt:
    case Kind.Ack:
      return [...head, c.id]
    case Kind.Peers:
      return [...head, c.generation, c.handles]
    case Kind.Abort:
    case Kind.Renew:
      return [...head, c.generation, c.issue]
    case Kind.Ping:
      return [...head, c.beat]
    case Kind.Meet:
      return [...head, c.generation, c.rank, c.ranks]
    case Kind.Restoring:
      return [...head, Number(c.restoring)]
  }
}

/** What a worker is when a new driver claims it. */
export interface Claimed {
  readonly kind: typeof Kind.Claimed
  /** Which driver it has claimed it: the answer to this claim and no other. */
  readonly driver: number
  readonly epoch: number
  /** Less than the id of any request that it will hear. */
  readonly next: number
  /** The latest generation of collectives that it knows. */
  readonly generation: number
  /** It is ready, and its state is whole. */
  readonly serves: boolean
  /** −1: it has none in its epoch. */
  readonly rank: number
  readonly shape: Readonly<Record<string, number>>
  /** The members' ids in rank order, if it has heard them. */
  readonly members: ReadonlyArray<number>
}

export type FromWorker =
  | { readonly kind: typeof Kind.Ready }
  | { readonly kind: typeof Kind.Failed; readonly phase: "import" | "setup"; readonly issue: string; readonly advice: string }
  | { readonly kind: typeof Kind.Success; readonly id: number; readonly value: unknown }
  | { readonly kind: typeof Kind.Failure; readonly id: number; readonly exit: unknown }
  | { readonly kind: typeof Kind.Chunk; readonly id: number; readonly values: unknown }
  | { readonly kind: typeof Kind.Rejected; readonly id: number; readonly issue: string }
  | { readonly kind: typeof Kind.Join; readonly generation: number; readonly handle: unknown }
  /** The first frame of another epoch: what came before it is of the former one. */
  | { readonly kind: typeof Kind.Entered }
  /** What the worker's end of the queues has done comes along. */
  | { readonly kind: typeof Kind.Pong; readonly beat: number; readonly stats: Stats }
  | Claimed

export const reply = (fence: Fence, member: number, life: number, r: FromWorker): Frame => {
  const head = [r.kind, fence.mark, fence.epoch, member, life]
  switch (r.kind) {
    case Kind.Ready:
    case Kind.Entered:
      return head
    case Kind.Pong:
      return [...head, r.beat, r.stats]
    case Kind.Failed:
      return [...head, r.phase, r.issue, r.advice]
    case Kind.Success:
      return [r.kind, fence.mark, fence.epoch, member, life, r.id, r.value]
    case Kind.Failure:
      return [...head, r.id, r.exit]
    case Kind.Chunk:
      return [...head, r.id, r.values]
    case Kind.Rejected:
      return [...head, r.id, r.issue]
    case Kind.Join:
      return [...head, r.generation, r.handle]
    case Kind.Claimed:
      return [...head, r.driver, r.next, r.generation, r.serves, r.rank, r.shape, r.members]
  }
}

/** What reading a frame can come to besides its content. */
export type Refusal = "stale" | "malformed"

/** A control frame of an epoch that the worker has not entered yet: it overtook the frame that begins it. */
export type Early = "early"

/** The driver's view of a frame that came on the lane of `member`, whose frames are of epoch `heard`, or enter a later one that the driver has begun. */
export const readReply = (frame: Frame, fence: Fence, member: number, life: number, heard: number): FromWorker | Refusal => {
  const [kind, mark, epoch, from, incarnation, a, b, c, serves, rank, shape, members] = frame
  if (!isCount(kind) || !isCount(mark) || !isCount(epoch) || !isCount(from) || !isCount(incarnation)) return "malformed"
  if (mark !== fence.mark || from !== member || incarnation !== life) return "stale"
  // Whoever is claimed says which epoch it is in; nobody knows yet.
  if (kind === Kind.Claimed) {
    return frame.length === holes[kind] && isCount(a) && isCount(b) && isCount(c) && typeof serves === "boolean" &&
        (rank === -1 || isCount(rank)) && isShape(shape) && isMembers(members) && (members.length === 0 || members.length === sizeOf(shape))
      ? { kind, driver: a, epoch, next: b, generation: c, serves, rank, shape, members }
      : "malformed"
  }
  if (kind === Kind.Entered ? epoch !== heard + 1 || epoch > fence.epoch : epoch !== heard) return "stale"
  if (frame.length !== holes[kind]) return "malformed"
  switch (kind) {
    case Kind.Ready:
    case Kind.Entered:
      return { kind }
    case Kind.Pong:
      return isCount(a) && isStats(b) ? { kind, beat: a, stats: b } : "malformed"
    case Kind.Failed:
      return (a === "import" || a === "setup") && typeof b === "string" && typeof c === "string"
        ? { kind, phase: a, issue: b, advice: c }
        : "malformed"
    case Kind.Success:
      return isCount(a) ? { kind, id: a, value: b } : "malformed"
    case Kind.Failure:
      return isCount(a) ? { kind, id: a, exit: b } : "malformed"
    case Kind.Chunk:
      return isCount(a) ? { kind, id: a, values: b } : "malformed"
    case Kind.Rejected:
      return isCount(a) && typeof b === "string" ? { kind, id: a, issue: b } : "malformed"
    case Kind.Join:
      return isCount(a) ? { kind, generation: a, handle: b } : "malformed"
    default:
      return "malformed"
  }
}

/** A worker's view of a frame from its driver. */
export const readDriver = (frame: Frame, fence: Fence, member: number, life: number): FromDriver | Refusal | Early => {
  const [kind, mark, epoch, lives, a, b, payload, replyFrom, headers, trace, generation, call] = frame
  if (!isCount(kind) || !isCount(mark) || !isCount(epoch)) return "malformed"
  if (mark !== fence.mark || (Array.isArray(lives) ? lives[member] : lives) !== life) return "stale"
  // Lanes do not wait for each other: a control frame, which says by number what it means, may come after the epoch in which it was sent, or before.
  if (epoch !== fence.epoch && (kind === Kind.Request || kind === Kind.Epoch)) return "stale"
  if (epoch > fence.epoch) return "early"
  if (frame.length !== holes[kind] || !isCount(a)) return "malformed"
  switch (kind) {
    case Kind.Request:
      return typeof b === "string" && (replyFrom === -1 || isCount(replyFrom)) && (headers === null || isHeaders(headers)) &&
          (trace === null || isTrace(trace)) && (generation === noGeneration || isCount(generation)) && (call === noCall || isCount(call))
        ? {
          kind,
          id: a,
          method: b,
          payload,
          replyFrom,
          headers,
          trace: trace === null ? null : { traceId: trace[0], spanId: trace[1], sampled: trace[2] },
          generation,
          call
        }
        : "malformed"
    case Kind.Interrupt:
    case Kind.Ack:
      return { kind, id: a }
    case Kind.Peers:
      return Array.isArray(b) ? { kind, generation: a, handles: b } : "malformed"
    case Kind.Abort:
    case Kind.Renew:
      return typeof b === "string" ? { kind, generation: a, issue: b } : "malformed"
    case Kind.Ping:
      return { kind, beat: a }
    case Kind.Restoring:
      return a <= 1 ? { kind, restoring: a === 1 } : "malformed"
    case Kind.Meet:
      return isCount(b) && isCount(payload) && b < payload ? { kind, generation: a, rank: b, ranks: payload } : "malformed"
    case Kind.Epoch:
      return a === epoch + 1 && isShape(b) && isMembers(payload) && payload.length === sizeOf(b) && isCount(replyFrom)
        ? { kind, epoch: a, shape: b, members: payload, generation: replyFrom }
        : "malformed"
    default:
      return "malformed"
  }
}

const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> =>
  typeof u === "object" && u !== null && !Array.isArray(u) && !ArrayBuffer.isView(u)
const isStats = (u: unknown): u is Stats => isRecord(u) && Object.values(u).every(Number.isFinite)
const isShape = (u: unknown): u is Readonly<Record<string, number>> =>
  isRecord(u) && Object.values(u).every((size) => isCount(size) && size > 0)
const isMembers = (u: unknown): u is ReadonlyArray<number> => Array.isArray(u) && u.every(isCount) && new Set(u).size === u.length
const sizeOf = (shape: Readonly<Record<string, number>>): number => Object.values(shape).reduce((product, size) => product * size, 1)
const isCount = (u: unknown): u is number => typeof u === "number" && u >= 0 && Number.isSafeInteger(u)
const isHeaders = (u: unknown): u is ReadonlyArray<readonly [string, string]> =>
  Array.isArray(u) && u.every((h) => Array.isArray(h) && h.length === 2 && typeof h[0] === "string" && typeof h[1] === "string")
const isTrace = (u: unknown): u is [string, string, boolean] =>
  Array.isArray(u) && u.length === 3 && typeof u[0] === "string" && typeof u[1] === "string" && typeof u[2] === "boolean"
