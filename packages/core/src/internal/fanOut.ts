/**
 * The one way out: opens a request on every rank that a call names, admits it, publishes it, and gives each rank's one answer to the call's sink.
 *
 * Everything here runs at once on the driver's event loop; adverbs turn it into effects. `settle` removes a request before it tells the sink, so a
 * late, second or stale answer finds nothing.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Mesh from "../Mesh.ts"
import type { Packed, Publisher } from "../MessageQueues.ts"
import { CallDefect, CallError, CallInterrupted, CallRejected, type Lost, type WorkerDied } from "../WorkerError.ts"
import { noCall } from "./calls.ts"
import type { Elapsed } from "./elapsed.ts"
import { type Control, control, type FromWorker, Kind, noGeneration, request, restamp, type Trace } from "./frame.ts"
import type { Call, CallExit, Observer, Open, Sink, Window } from "./request.ts"
import type { Member, Roster } from "./roster.ts"

type Asked = Omit<Call, "members" | "made" | "unsent">

/** What was dropped, by why. */
export interface Counters {
  /** Answers that came when nobody waited any more. */
  late: number
  /** Answers to nothing that is open: doubled, or never asked for. */
  unexpected: number
  /** Frames of another group, epoch, rank or incarnation. */
  fenced: number
}

export const make = (options: {
  readonly publisher: () => Publisher
  readonly roster: Roster
  readonly window: Window
  readonly now: Elapsed
}) => {
  const { now, roster, window } = options
  const counters: Counters = { late: 0, unexpected: 0, fenced: 0 }
  const observers = new Set<Observer>()
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
  const fail = (member: Member, open: Open, reason: unknown): void => settle(member, open, Exit.fail(errorOf(open, reason)))

  const handed = (call: Call): void => {
    if (--call.unsent === 0) call.sink.handed?.()
  }

  const fits = (member: Member, bytes: number): boolean =>
    member.died === undefined && member.requests < window.requests && member.bytes + bytes <= window.bytes

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
    admitWaiting(member)
    if (member.open.size === 0) tellIdle(member)
  }
  const tellIdle = ({ idle }: Member): void => {
    for (const tell of idle) tell()
  }

  const admitWaiting = (member: Member): void => {
    while (member.waiting.length > 0 && fits(member, member.waiting[0]!.packed.bytes)) {
      const next = member.waiting.shift()!
      if (next.stamp !== roster.stamp) next.packed = restamped(next, member)
      admit(member, next)
      options.publisher().publish(next.packed, [member.id])
      handed(next.call)
    }
  }

  const restamped = ({ id, packed }: Open, member: Member): Packed =>
    options.publisher().pack(restamp(options.publisher().unpack(packed), roster.fence, member.incarnation, id))

  /** The calls that restored the member's state went first: what waited gets newer ids, since a worker tells by them what it has been given. */
  const renumber = (member: Member): void => {
    for (const open of member.waiting) {
      member.open.delete(open.id)
      open.id = nextId++
      open.stamp = restampedAlways
      member.open.set(open.id, open)
    }
  }

  const rejected = (call: Asked, index: number, reason: CallRejected): void =>
    call.sink.exit(index, Exit.fail(new CallError({ method: call.method, rank: call.mesh.ranks[index]!, reason })))

  const observed = ({ mesh, method, sink }: Asked): Sink => {
    const made = performance.now()
    return {
      ...sink,
      exit: (index, exit) => {
        sink.exit(index, exit)
        const answer = { method, rank: mesh.ranks[index]!, exit, millis: performance.now() - made }
        for (const observer of observers) observer(answer)
      }
    }
  }

  const start = (
    target: Asked,
    payload: unknown,
    details: { readonly place: (index: number) => Mesh.Place<any>; readonly headers: Request["headers"]; readonly trace: Trace | null }
  ) => {
    const { audience: { generation: present, members: known, mesh: whole, restores }, codec, context, mesh, method } = target
    const id = nextId++
    const members = mesh.ranks.map((rank) => known[rank])
    const sink = observers.size === 0 ? target.sink : observed(target)
    const call: Call = { ...target, sink, members, made: now(), unsent: mesh.ranks.length }
    const { fence } = roster
    const lives = roster.lives(members)
    const replyFrom = target.replyFrom === -1 ? -1 : known[target.replyFrom]?.id ?? -1
    const encode = (input: unknown): Encoded => {
      const encoded = codec.encodePayload(input, context)
      return encoded._tag === "Success" ? encoded : `the payload does not fit ${method}: ${String(Cause.squash(encoded.cause))}`
    }
    const pack = (encoded: Encoded): Packed | string => {
      if (typeof encoded === "string") return encoded
      const { headers, trace } = details
      let packed: Packed
      try {
        packed = options.publisher().pack(
          request(fence, lives, { id, method, payload: encoded.value, replyFrom, headers, trace, generation, call: restores ? noCall : id })
        )
      } catch (cause) {
        return `the payload cannot be sent: ${cause instanceof Error ? cause.message : String(cause)}`
      }
      if (packed.bytes <= window.bytes) return packed
      return `the request is ${packed.bytes} bytes, and a rank takes ${window.bytes} at once; send it in parts, or raise the group's window.bytes`
    }
    const lostOf = (member: Member): Lost | undefined =>
      closed ?? (member.awaited || restores && member.restoring ? undefined : member.died)

    // Per rank, a payload is a value of its own; else one frame serves all ranks and is encoded once.
    const each = typeof payload === "function"
    const encoded = each
      ? members.map((member, index) => member === undefined ? "" : perRank(() => encode(payload(details.place(index)))))
      : [encode(payload)]
    // A call that some ranks are not given must not let the others wait for them in a collective.
    const complete = encoded.every((value) => typeof value !== "string")
      && members.every((member) => member !== undefined && lostOf(member) === undefined)
    const generation = complete ? present : noGeneration
    const shared = each ? "" : pack(encoded[0]!)
    const at: Array<number> = []
    const opened: Array<Open | undefined> = []
    for (let index = 0; index < mesh.ranks.length; index++) {
      const member = members[index]
      if (member === undefined) {
        rejected(call, index, roster.refusal(whole))
        handed(call)
        continue
      }
      const packed = each ? pack(encoded[index]!) : shared
      const restored = restores && member.restoring
      const lost = lostOf(member)
      if (typeof packed === "string" || lost !== undefined) {
        if (typeof packed === "string") rejected(call, index, new CallRejected({ side: "driver", issue: packed }))
        else call.sink.exit(index, Exit.fail(new CallError({ method, rank: member.rank, reason: lost! })))
        handed(call)
        continue
      }
      const open: Open = { id, call, index, packed, stamp: roster.stamp, admitted: false, abandoned: false }
      opened[index] = open
      member.open.set(id, open)
      if (!restored && (member.waiting.length > 0 || !fits(member, packed.bytes))) {
        packed.keep?.()
        member.waiting.push(open)
        continue
      }
      admit(member, open)
      if (each) options.publisher().publish(packed, [member.id])
      else at.push(member.id)
    }
    // A sink that failed fast may have stopped the call while it was being opened; what it abandoned is sent and then cancelled, which costs nobody anything.
    if (at.length > 0) options.publisher().publish(shared as Packed, at)
    for (const open of opened) if (open?.admitted) handed(call)
    look()

    /** Tells the rank at `index` (or every rank still open) to stop; `reason`, if there is one, is the answer, else nobody waits for one. */
    const stop = (reason?: Lost, index?: number): void => {
      for (const i of index === undefined ? mesh.ranks.keys() : [index]) {
        const member = members[i]
        const open = opened[i]
        if (member === undefined || open === undefined || open.abandoned || member.open.get(open.id) !== open) continue
        if (!open.admitted) {
          if (reason !== undefined) fail(member, open, reason)
          else {
            member.open.delete(open.id)
            release(member, open)
          }
          continue
        }
        open.abandoned = true
        send(member, { kind: Kind.Interrupt, id: open.id })
        if (reason !== undefined) open.call.sink.exit(i, Exit.fail(errorOf(open, reason)))
      }
    }
    return { stop }
  }

  const send = (member: Member, message: Control): void =>
    options.publisher().control(member.id, control(roster.fence, member.incarnation, message))

  /** Takes an answer of the rank's present incarnation. */
  const receive = (member: Member, message: Extract<FromWorker, { id: number }>): void => {
    const open = member.open.get(message.id)
    if (open === undefined || !open.admitted) {
      counters.unexpected++
      return
    }
    const { codec, context, sink } = open.call
    switch (message.kind) {
      case Kind.Success: {
        const { mesh, replyFrom } = open.call
        const mute = replyFrom !== -1 && mesh.ranks[open.index] !== replyFrom
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
        return sink.exit(open.index, Exit.fail(errorOf(open, undecodable(values))))
      }
      case Kind.Rejected:
        return fail(member, open, new CallRejected({ side: "worker", issue: message.issue }))
    }
  }

  /** After how many more successes somebody has something to do; whatever else comes is something to do. */
  const awaited = (): number => {
    let least = Infinity
    for (const member of roster.all) {
      if (member.waiting.length > 0) return 1
      for (const { abandoned, call } of member.open.values()) {
        if (!abandoned) least = Math.min(least, call.sink.awaits?.() ?? 1)
        if (least <= 1) return 1
      }
    }
    return least === Infinity ? 0 : least
  }
  const look = (): void => options.publisher().look?.()

  /** Takes out what a member has open, and what waits for it unless that goes on waiting. Who asked for it is told by calling the result. */
  const end = (member: Member, reason: Lost, keepWaiting: boolean): () => void => {
    const ended: Array<Open> = []
    for (const open of member.open.values()) if (open.admitted || !keepWaiting) ended.push(open)
    for (const { id } of ended) member.open.delete(id)
    if (!keepWaiting) member.waiting.length = 0
    member.requests = 0
    member.bytes = 0
    return () => {
      for (const open of ended) {
        if (!open.abandoned) open.call.sink.exit(open.index, Exit.fail(errorOf(open, reason)))
        if (!open.admitted) handed(open.call)
      }
      tellIdle(member)
      look()
    }
  }

  return {
    counters,
    observers,
    window,
    awaited,
    start,
    receive,
    send,
    /**
     * Ends every open request of a member; later ones, too, or they wait with those that were never sent. The callers are told by calling the result: they go on at once, so what is to
     * become of the group must be settled by then.
     */
    lose: (member: Member, died: WorkerDied, awaited: boolean): () => void => {
      member.died = died
      member.restoring = false
      member.awaited = awaited
      return end(member, died, awaited)
    },
    /** The member's next incarnation serves. */
    revive: (member: Member): void => {
      member.died = undefined
      member.restoring = false
      member.awaited = false
      renumber(member)
      admitWaiting(member)
    },
    /** No call gets an id below this one. */
    from: (id: number): void => void (nextId = Math.max(nextId, id)),
    /** Resolves when a member has nothing open. */
    idle: (member: Member): Effect.Effect<void> =>
      Effect.callback((resume) => {
        if (member.open.size === 0) return resume(Effect.void)
        const done = (): void => resume(Effect.void)
        member.idle.add(done)
        return Effect.sync(() => member.idle.delete(done))
      }),
    /** The group ends: what is still open is given up. */
    close: (): void => {
      closed = new CallInterrupted({ by: "group" })
      for (const member of roster.all) end(member, closed, false)()
    },
    /** How long ago a request was made. */
    ageMillis: ({ call }: Open): number => now() - call.made,
    /** The oldest call that a member has been given and has not answered. One that waits is not its doing, though it may have been made before those that restore its state. */
    oldest: (member: Member): { readonly method: string; readonly ageMillis: number } | undefined => {
      for (const { admitted, call } of member.open.values()) if (admitted) return { method: call.method, ageMillis: now() - call.made }
      return undefined
    }
  }
}
export type FanOut = ReturnType<typeof make>
/** No stamp of a roster. */
const restampedAlways = -1
type Request = Parameters<typeof request>[2]

type Encoded = Exit.Success<unknown, unknown> | string

const perRank = <A>(f: () => A): A | string => {
  try {
    return f()
  } catch (cause) {
    return `the function that makes each rank's payload threw: ${cause instanceof Error ? cause.message : String(cause)}`
  }
}

/** The rank is the one that the call named, whatever its member's is by now. */
const errorOf = ({ call, index }: Open, reason: unknown): CallError<any> =>
  new CallError({ method: call.method, rank: call.mesh.ranks[index]!, reason: reason as Lost })

const undecodable = (exit: Exit.Failure<unknown, string>): CallRejected =>
  new CallRejected({ side: "driver", issue: `the reply does not fit the protocol: ${String(Cause.squash(exit.cause))}` })

/** A remote failure as a value: the method's own error, a defect of the handler, or the worker's giving up. */
const reasonOf = (exit: Exit.Failure<any, any>): unknown => {
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  if (failure !== undefined) return failure.error
  const defect = exit.cause.reasons.find(Cause.isDieReason)
  return defect === undefined ? new CallInterrupted({ by: "worker" }) : new CallDefect({ cause: defect.defect })
}
