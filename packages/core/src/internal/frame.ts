/**
 * What driver and workers say to each other: arrays of plain data whose first five or six holes are the fence. `WIRE.md` of `@phalanx/queue`
 * has them in words. A frame comes from another process, so its shape is checked before it is believed.
 */
import type { Frame } from "../MessageQueues.ts"

export const Kind = {
  // driver → worker
  Request: 0,
  Interrupt: 1,
  Ack: 2,
  Peers: 3,
  Abort: 4,
  // worker → driver
  Ready: 16,
  Failed: 17,
  Success: 18,
  Failure: 19,
  Chunk: 20,
  Rejected: 21,
  Join: 22
} as const

/** Which life of which membership of which group a frame belongs to. A frame whose fence differs changes nothing and is counted. */
export interface Fence {
  readonly secret: string
  readonly epoch: number
}

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
}
/** What only a control lane carries. */
export type Control =
  | { readonly kind: typeof Kind.Interrupt; readonly id: number }
  | { readonly kind: typeof Kind.Ack; readonly id: number }
  | { readonly kind: typeof Kind.Peers; readonly generation: number; readonly handles: ReadonlyArray<unknown> }
  | { readonly kind: typeof Kind.Abort; readonly generation: number; readonly issue: string }
export type FromDriver = Request | Control

/** A request goes to many ranks in one frame, so it says the incarnation it means of each: one number if they are equal, else one a rank. */
export type Lives = number | ReadonlyArray<number>

export const request = (fence: Fence, lives: Lives, r: Omit<Request, "kind">): Frame => [
  Kind.Request,
  fence.secret,
  fence.epoch,
  lives,
  r.id,
  r.method,
  r.payload,
  r.replyFrom,
  r.headers,
  r.trace === null ? null : [r.trace.traceId, r.trace.spanId, r.trace.sampled]
]

export const control = (fence: Fence, life: number, c: Control): Frame => {
  const head = [c.kind, fence.secret, fence.epoch, life]
  switch (c.kind) {
    case Kind.Interrupt:
    case Kind.Ack:
      return [...head, c.id]
    case Kind.Peers:
      return [...head, c.generation, c.handles]
    case Kind.Abort:
      return [...head, c.generation, c.issue]
  }
}

export type FromWorker =
  | { readonly kind: typeof Kind.Ready }
  | { readonly kind: typeof Kind.Failed; readonly phase: "import" | "setup"; readonly issue: string; readonly advice: string }
  | { readonly kind: typeof Kind.Success; readonly id: number; readonly value: unknown }
  | { readonly kind: typeof Kind.Failure; readonly id: number; readonly exit: unknown }
  | { readonly kind: typeof Kind.Chunk; readonly id: number; readonly values: unknown }
  | { readonly kind: typeof Kind.Rejected; readonly id: number; readonly issue: string }
  | { readonly kind: typeof Kind.Join; readonly generation: number; readonly handle: unknown }

export const reply = (fence: Fence, rank: number, life: number, r: FromWorker): Frame => {
  const head = [r.kind, fence.secret, fence.epoch, rank, life]
  switch (r.kind) {
    case Kind.Ready:
      return head
    case Kind.Failed:
      return [...head, r.phase, r.issue, r.advice]
    case Kind.Success:
      return [r.kind, fence.secret, fence.epoch, rank, life, r.id, r.value]
    case Kind.Failure:
      return [...head, r.id, r.exit]
    case Kind.Chunk:
      return [...head, r.id, r.values]
    case Kind.Rejected:
      return [...head, r.id, r.issue]
    case Kind.Join:
      return [...head, r.generation, r.handle]
  }
}

/** What reading a frame can come to besides its content. */
export type Refusal = "stale" | "malformed"

/** The driver's view of a frame that came on the lane of `rank`. */
export const readReply = (frame: Frame, fence: Fence, rank: number, life: number): FromWorker | Refusal => {
  const [kind, secret, epoch, from, incarnation, a, b, c] = frame
  if (!isCount(kind) || typeof secret !== "string" || !isCount(epoch) || !isCount(from) || !isCount(incarnation)) return "malformed"
  if (secret !== fence.secret || epoch !== fence.epoch || from !== rank || incarnation !== life) return "stale"
  switch (kind) {
    case Kind.Ready:
      return { kind }
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
export const readDriver = (frame: Frame, fence: Fence, rank: number, life: number): FromDriver | Refusal => {
  const [kind, secret, epoch, lives, a, b, payload, replyFrom, headers, trace] = frame
  if (!isCount(kind) || typeof secret !== "string" || !isCount(epoch)) return "malformed"
  if (secret !== fence.secret || epoch !== fence.epoch) return "stale"
  if ((Array.isArray(lives) ? lives[rank] : lives) !== life) return "stale"
  if (!isCount(a)) return "malformed"
  switch (kind) {
    case Kind.Request:
      return typeof b === "string" && Number.isInteger(replyFrom) && (headers === null || isHeaders(headers)) &&
          (trace === null || isTrace(trace))
        ? {
          kind,
          id: a,
          method: b,
          payload,
          replyFrom: replyFrom as number,
          headers,
          trace: trace === null ? null : { traceId: trace[0], spanId: trace[1], sampled: trace[2] }
        }
        : "malformed"
    case Kind.Interrupt:
    case Kind.Ack:
      return { kind, id: a }
    case Kind.Peers:
      return Array.isArray(b) ? { kind, generation: a, handles: b } : "malformed"
    case Kind.Abort:
      return typeof b === "string" ? { kind, generation: a, issue: b } : "malformed"
    default:
      return "malformed"
  }
}

const isCount = (u: unknown): u is number => typeof u === "number" && u >= 0 && Number.isInteger(u)
const isHeaders = (u: unknown): u is ReadonlyArray<readonly [string, string]> =>
  Array.isArray(u) && u.every((h) => Array.isArray(h) && typeof h[0] === "string" && typeof h[1] === "string")
const isTrace = (u: unknown): u is [string, string, boolean] =>
  Array.isArray(u) && typeof u[0] === "string" && typeof u[1] === "string" && typeof u[2] === "boolean"
