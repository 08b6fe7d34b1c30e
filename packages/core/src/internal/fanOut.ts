/**
 * The one way out: opens a request on every rank that a call names, admits it, publishes it, and gives each rank's one answer to the call's sink.
 *
 * Everything here runs at once on the driver's event loop; adverbs turn it into effects. `settle` removes a request before it tells the sink, so a
 * late, second or stale answer finds nothing.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type * as Mesh from "../Mesh.ts"
import type { Packed, Publisher } from "../MessageQueues.ts"
import { CallDefect, CallError, CallInterrupted, CallRejected, type Lost, type WorkerDied } from "../WorkerError.ts"
import type { MethodCodec } from "./codec.ts"
import { type Control, control, type Fence, type FromWorker, Kind, type Lives, request, type Trace } from "./frame.ts"

export type CallExit = Exit.Exit<any, CallError<any>>

/** Hears the answers of one call: exactly one `exit` for each index of its mesh. */
export interface Sink {
  readonly exit: (index: number, exit: CallExit) => void
  readonly chunk?: (index: number, values: ReadonlyArray<unknown>, ack: () => void) => void
  /** Every rank has been handed the request, or is known not to be. */
  readonly handed?: () => void
}

/** What a rank may have open at once. */
export interface Window {
  readonly requests: number
  readonly bytes: number
}

interface Open {
  readonly id: number
  readonly call: Call
  readonly index: number
  readonly packed: Packed
  admitted: boolean
  /** Nobody waits for the answer any more; the request keeps its place in the window until it comes. */
  abandoned: boolean
}

export interface Member {
  readonly rank: number
  incarnation: number
  died: WorkerDied | undefined
  /** In the order of calls: the admitted ones, then those that wait for room. */
  readonly open: Map<number, Open>
  readonly waiting: Array<Open>
  requests: number
  bytes: number
}

/** A call in progress. */
export interface Call {
  readonly method: string
  readonly codec: MethodCodec
  readonly context: Context.Context<never>
  readonly mesh: Mesh.Any
  readonly sink: Sink
  /** The one rank whose reply is wanted, or −1: all. */
  readonly replyFrom: number
  /** Ranks that have not been handed the request. */
  unsent: number
}

/** What was dropped, by why. */
export interface Counters {
  /** Answers that came when nobody waited any more. */
  late: number
  /** Answers to nothing that is open: doubled, or never asked for. */
  unexpected: number
  /** Frames of another group, epoch, rank or incarnation. */
  fenced: number
}

export const makeMember = (rank: number): Member => ({
  rank,
  incarnation: 0,
  died: undefined,
  open: new Map(),
  waiting: [],
  requests: 0,
  bytes: 0
})

export const make = (options: {
  readonly publisher: () => Publisher
  readonly members: ReadonlyArray<Member>
  readonly fence: Fence
  readonly window: Window
}) => {
  const { fence, members, window } = options
  const counters: Counters = { late: 0, unexpected: 0, fenced: 0 }
  let nextId = 0
  /** What every call ends in once the group has ended. */
  let closed: CallInterrupted | undefined

  const settle = (member: Member, open: Open, exit: CallExit): void => {
    member.open.delete(open.id)
    if (open.abandoned) counters.late++
    else open.call.sink.exit(open.index, exit)
    // Last: whoever only waits for the request to be handed over must have heard why it will not be.
    release(member, open)
  }
  const fail = (member: Member, open: Open, reason: unknown): void =>
    settle(member, open, Exit.fail(new CallError({ method: open.call.method, rank: member.rank, reason: reason as Lost })))

  const handed = (call: Call): void => {
    if (--call.unsent === 0) call.sink.handed?.()
  }

  const fits = (member: Member, bytes: number): boolean => member.requests < window.requests && member.bytes + bytes <= window.bytes

  const admit = (member: Member, open: Open): void => {
    open.admitted = true
    member.requests++
    member.bytes += open.packed.bytes
  }

  /** Takes an answered or dropped request out, and lets those in for which there is room now, first come first served. */
  const release = (member: Member, open: Open): void => {
    if (open.admitted) {
      member.requests--
      member.bytes -= open.packed.bytes
    } else {
      member.waiting.splice(member.waiting.indexOf(open), 1)
      handed(open.call)
    }
    while (member.waiting.length > 0 && fits(member, member.waiting[0]!.packed.bytes)) {
      const next = member.waiting.shift()!
      admit(member, next)
      options.publisher().publish(next.packed, [member.rank])
      handed(next.call)
    }
  }

  const rejected = (call: Omit<Call, "unsent">, index: number, issue: string): void =>
    call.sink.exit(
      index,
      Exit.fail(new CallError({ method: call.method, rank: call.mesh.ranks[index]!, reason: new CallRejected({ side: "driver", issue }) }))
    )

  const start = (
    target: Omit<Call, "unsent">,
    payload: unknown,
    details: { readonly place: (index: number) => Mesh.Place<any>; readonly headers: Request["headers"]; readonly trace: Trace | null }
  ) => {
    const { codec, context, mesh, method } = target
    const id = nextId++
    const call: Call = { ...target, unsent: mesh.ranks.length }
    const lives = livesOf(members, mesh.ranks)
    const encode = (input: unknown): Packed | string => {
      const encoded = codec.encodePayload(input, context)
      if (encoded._tag === "Failure") return `the payload does not fit ${method}: ${String(Cause.squash(encoded.cause))}`
      const packed = pack(
        request(fence, lives, {
          id,
          method,
          payload: encoded.value,
          replyFrom: target.replyFrom,
          headers: details.headers,
          trace: details.trace
        })
      )
      if (typeof packed === "string" || packed.bytes <= window.bytes) return packed
      return `the request is ${packed.bytes} bytes, and a rank takes ${window.bytes} at once; send it in parts, or raise the group's window.bytes`
    }
    const pack = (frame: ReadonlyArray<unknown>): Packed | string => {
      try {
        return options.publisher().pack(frame)
      } catch (cause) {
        return `the payload cannot be sent: ${cause instanceof Error ? cause.message : String(cause)}`
      }
    }

    // Per rank, a payload is a value of its own; else one frame serves all ranks and is encoded once.
    const each = typeof payload === "function"
    const shared = each ? "" : encode(payload)
    const now: Array<number> = []
    const opened: Array<Open | undefined> = []
    for (let index = 0; index < mesh.ranks.length; index++) {
      const member = members[mesh.ranks[index]!]!
      const packed = each ? perRank(() => encode(payload(details.place(index)))) : shared
      const lost = member.died ?? closed
      if (typeof packed === "string" || lost !== undefined) {
        if (typeof packed === "string") rejected(call, index, packed)
        else call.sink.exit(index, Exit.fail(new CallError({ method, rank: member.rank, reason: lost! })))
        handed(call)
        continue
      }
      const open: Open = { id, call, index, packed, admitted: false, abandoned: false }
      opened[index] = open
      member.open.set(id, open)
      if (member.waiting.length > 0 || !fits(member, packed.bytes)) {
        packed.keep?.()
        member.waiting.push(open)
        continue
      }
      admit(member, open)
      if (each) options.publisher().publish(packed, [member.rank])
      else now.push(member.rank)
    }
    // A sink that failed fast may have stopped the call while it was being opened; what it abandoned is sent and then cancelled, which costs nobody anything.
    if (now.length > 0) options.publisher().publish(shared as Packed, now)
    for (const open of opened) if (open?.admitted) handed(call)

    /** Tells the rank at `index` (or every rank still open) to stop; `reason`, if there is one, is the answer, else nobody waits for one. */
    const stop = (reason?: Lost, index?: number): void => {
      for (const i of index === undefined ? mesh.ranks.keys() : [index]) {
        const member = members[mesh.ranks[i]!]!
        const open = member.open.get(id)
        if (open === undefined || open.abandoned) continue
        if (!open.admitted) {
          if (reason !== undefined) fail(member, open, reason)
          else {
            member.open.delete(id)
            release(member, open)
          }
          continue
        }
        open.abandoned = true
        send(member, { kind: Kind.Interrupt, id })
        if (reason !== undefined) open.call.sink.exit(i, Exit.fail(new CallError({ method, rank: member.rank, reason })))
      }
    }
    return { stop }
  }

  const send = (member: Member, message: Control): void =>
    options.publisher().control(member.rank, control(fence, member.incarnation, message))

  /** Takes an answer of the rank's present incarnation. */
  const receive = (member: Member, message: Extract<FromWorker, { id: number }>): void => {
    const open = member.open.get(message.id)
    if (open === undefined || !open.admitted) {
      counters.unexpected++
      return
    }
    const { codec, context, method, sink } = open.call
    switch (message.kind) {
      case Kind.Success: {
        const mute = open.call.replyFrom !== -1 && open.call.replyFrom !== member.rank
        if (open.abandoned || codec.streams || mute) return settle(member, open, Exit.void)
        const value = codec.decodeSuccess(message.value, context)
        return value._tag === "Success" ? settle(member, open, Exit.succeed(value.value)) : fail(member, open, undecodable(value))
      }
      case Kind.Failure: {
        const exit = codec.decodeExit(message.exit, context)
        if (exit._tag === "Failure") return fail(member, open, undecodable(exit))
        const failed: Exit.Exit<any, any> = exit.value
        return failed._tag === "Failure" ? fail(member, open, reasonOf(failed)) : settle(member, open, failed)
      }
      case Kind.Chunk: {
        const ack = () => send(member, { kind: Kind.Ack, id: message.id })
        if (open.abandoned) return
        const values = codec.decodeChunk(message.values, context)
        if (values._tag === "Success" && sink.chunk !== undefined) return sink.chunk(open.index, values.value, ack)
        // Nobody reads the elements (a broadcast), or they cannot be read: the producer goes on, or is told to stop.
        if (values._tag === "Success") return ack()
        open.abandoned = true
        send(member, { kind: Kind.Interrupt, id: message.id })
        return sink.exit(open.index, Exit.fail(new CallError({ method, rank: member.rank, reason: undecodable(values) })))
      }
      case Kind.Rejected:
        return fail(member, open, new CallRejected({ side: "worker", issue: message.issue }))
    }
  }

  const end = (member: Member, reason: Lost): void => {
    const open = [...member.open.values()]
    member.open.clear()
    member.waiting.length = 0
    member.requests = 0
    member.bytes = 0
    for (const { abandoned, admitted, call, index } of open) {
      if (!abandoned) call.sink.exit(index, Exit.fail(new CallError({ method: call.method, rank: member.rank, reason })))
      if (!admitted) handed(call)
    }
  }

  return {
    counters,
    start,
    receive,
    send,
    /** Answers every open request of a rank, and every later one. */
    lose: (member: Member, died: WorkerDied): void => {
      member.died = died
      end(member, died)
    },
    /** The group ends: what is still open is given up. */
    close: (): void => {
      closed = new CallInterrupted()
      for (const member of members) end(member, closed)
    },
    /** The oldest call that a rank has not answered. */
    oldest: (member: Member): string | undefined => member.open.values().next().value?.call.method
  }
}
export type FanOut = ReturnType<typeof make>
type Request = Parameters<typeof request>[2]

const livesOf = (members: ReadonlyArray<Member>, ranks: ReadonlyArray<number>): Lives => {
  const first = members[ranks[0]!]!.incarnation
  return ranks.every((rank) => members[rank]!.incarnation === first) ? first : members.map((member) => member.incarnation)
}

const perRank = <A>(f: () => A): A | string => {
  try {
    return f()
  } catch (cause) {
    return `the function that makes each rank's payload threw: ${cause instanceof Error ? cause.message : String(cause)}`
  }
}

const undecodable = (exit: Exit.Failure<unknown, string>): CallRejected =>
  new CallRejected({ side: "driver", issue: `the reply does not fit the protocol: ${String(Cause.squash(exit.cause))}` })

/** A remote failure as a value: the method's own error, a defect of the handler, or the worker's giving up. */
const reasonOf = (exit: Exit.Failure<any, any>): unknown => {
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  if (failure !== undefined) return failure.error
  const defect = exit.cause.reasons.find(Cause.isDieReason)
  return defect === undefined ? new CallInterrupted() : new CallDefect({ cause: defect.defect })
}
