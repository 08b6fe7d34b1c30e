import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { CollectiveAborted } from "../CollectiveAborted.ts"
import type { Collectives, Communicator, Numbers, Reduction } from "../Collectives.ts"
import type { Handle, PeerLanes } from "../MessageQueues.ts"
import { MessageQueues } from "../MessageQueues.ts"
import * as reduction from "./reduction.ts"

type Parts = ReadonlyArray<Uint8Array>
type Resume = (exit: Exit.Exit<Parts, CollectiveAborted>) => void

/*
 * A message's sequence: 4 bits say which operation, 12 bits its argument (the root's place, the reduction and its type), 16 bits count
 * the communicator's operations. A peer is one operation ahead at most (CL-6), so that the count may wrap.
 */
const operations = ["allToAll", "allGather", "allReduce", "broadcast", "barrier"] as const
type Operation = typeof operations[number]
const encode = (operation: Operation, argument = 0): number => operations.indexOf(operation) << 12 | argument
const operationOf = (code: number): Operation => operations[code >>> 12]!
const abortCode = 0xf000
const reduceCode = encode("allReduce")
const idle = -1
const maxRanks = 1 << 12

const nothing = new Uint8Array(0)
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** One message between ranks; `rank` is the other end. */
interface Letter {
  readonly rank: number
  readonly channel: number
  readonly sequence: number
  readonly bytes: Uint8Array
}

/** What a communicator needs of the rank that it belongs to. */
interface Post {
  readonly rank: number
  readonly generation: number
  readonly send: (to: number, channel: number, sequence: number, bytes: Uint8Array) => void
  /** Forgets what was not sent yet. */
  readonly retract: (channel: number) => void
}

/** This rank's side of one communicator. `begin` and `receive` are the hot path: they allocate one array an operation. */
class Member {
  readonly post: Post
  readonly channel: number
  readonly ranks: ReadonlyArray<number>
  readonly index: number
  readonly places = new Map<number, number>()
  readonly interrupted: Effect.Effect<void>
  readonly vacant: ReadonlyArray<undefined>

  failure: string | undefined
  /** How many operations have ended. */
  count = 0
  /** The operation that waits, or `idle`. */
  code = idle
  own: Uint8Array = nothing
  resume: Resume | undefined
  /** How many peers it waits for. */
  missing = 0
  /** What has come for it, or for the one that this rank begins next, and what the sender had called. */
  parts: Array<Uint8Array | undefined>
  codes: Uint16Array
  /** What has come from peers that are in the operation after it already. */
  early: Array<Uint8Array | undefined>
  earlyCodes: Uint16Array

  constructor(post: Post, channel: number, ranks: ReadonlyArray<number>) {
    this.post = post
    this.channel = channel
    this.ranks = ranks
    this.index = ranks.indexOf(post.rank)
    ranks.forEach((rank, place) => this.places.set(rank, place))
    this.vacant = ranks.map(() => undefined)
    this.parts = this.vacant.slice()
    this.codes = new Uint16Array(ranks.length)
    this.early = this.vacant.slice()
    this.earlyCodes = new Uint16Array(ranks.length)
    this.interrupted = Effect.sync(() => {
      if (this.code !== idle) this.fail(`rank ${post.rank} was interrupted in ${this.current()}`, true)
    })
  }

  begin(code: number, outgoing: Uint8Array | Parts, resume: Resume): void {
    if (this.code !== idle) {
      const began = this.describe(code, outgoing instanceof Uint8Array ? outgoing : nothing)
      this.fail(`rank ${this.post.rank} began ${began} while it was in ${this.current()}: one fiber at a time`, true)
    }
    if (this.failure !== undefined) return resume(this.aborted(code, this.failure))
    const { index, parts, ranks } = this
    const size = ranks.length
    this.code = code
    this.own = outgoing instanceof Uint8Array ? outgoing : outgoing[index]!
    this.resume = resume
    this.missing = size - 1
    let odd = idle
    for (let place = 0; place < size; place++) {
      const part = parts[place]
      if (part === undefined) continue
      this.missing--
      if (!this.matches(this.codes[place]!, part)) odd = place
    }
    const sequence = (code << 16 | this.count & 0xffff) >>> 0
    // From the next place on, so that the ranks do not all write to the same one first.
    for (let step = 1; step < size; step++) {
      const place = index + step < size ? index + step : index + step - size
      const bytes = outgoing instanceof Uint8Array ? outgoing : outgoing[place]!
      this.post.send(ranks[place]!, this.channel, sequence, bytes)
    }
    // A lane may have delivered or failed meanwhile, and so ended it.
    if (this.code === idle) return
    // Only now: the others see what this rank began before it says that it does not fit.
    if (odd !== idle) this.mismatch(odd, this.codes[odd]!, parts[odd]!)
    else if (this.missing === 0) this.complete()
  }

  receive(from: number, sequence: number, bytes: Uint8Array): void {
    if (this.failure !== undefined) return
    const place = this.places.get(from)
    const code = sequence >>> 16
    if (place === undefined) return this.fail(`rank ${from} is not of ${this.name()} but wrote to it`, true)
    if (code === abortCode) return this.fail(decoder.decode(bytes), false)
    const ahead = sequence - this.count & 0xffff
    if (ahead === 0 && this.parts[place] === undefined) {
      this.parts[place] = bytes
      this.codes[place] = code
      if (this.code === idle) return
      if (!this.matches(code, bytes)) return this.mismatch(place, code, bytes)
      if (--this.missing === 0) this.complete()
    } else if (ahead === 1 && this.code !== idle && this.early[place] === undefined) {
      this.early[place] = bytes
      this.earlyCodes[place] = code
    } else {
      this.fail(`rank ${from} sent ${this.describe(code, bytes)} out of turn to ${this.name()}`, true)
    }
  }

  matches(code: number, bytes: Uint8Array): boolean {
    return code === this.code && (code >>> 12 !== reduceCode >>> 12 || bytes.length === this.own.length)
  }

  complete(): void {
    const parts = this.parts
    const resume = this.resume!
    parts[this.index] = this.own
    this.parts = this.early
    this.early = this.vacant.slice()
    const codes = this.codes
    this.codes = this.earlyCodes
    this.earlyCodes = codes
    this.count++
    this.rest()
    // Runs the fiber, which may begin the next operation.
    resume(Exit.succeed(parts as Parts))
  }

  rest(): void {
    this.code = idle
    this.own = nothing
    this.resume = undefined
  }

  mismatch(place: number, code: number, bytes: Uint8Array): void {
    const theirs = `rank ${this.ranks[place]} began ${this.describe(code, bytes)}`
    const ours = `rank ${this.post.rank} began ${this.describe(this.code, this.own)}`
    this.fail(`${theirs}, ${ours} as operation ${this.count} of ${this.name()}`, true)
  }

  fail(issue: string, tell: boolean): void {
    if (this.failure !== undefined) return
    this.failure = issue
    const { code, resume } = this
    this.rest()
    this.parts = this.vacant.slice()
    this.early = this.vacant.slice()
    if (tell) {
      this.post.retract(this.channel)
      const bytes = encoder.encode(issue)
      for (const rank of this.ranks) {
        if (rank !== this.post.rank) this.post.send(rank, this.channel, abortCode * 0x10000, bytes)
      }
    }
    resume?.(this.aborted(code, issue))
  }

  aborted(code: number, issue: string): Exit.Exit<never, CollectiveAborted> {
    return Exit.fail(
      new CollectiveAborted({ operation: operationOf(code), generation: this.post.generation, issue })
    )
  }

  current(): string {
    return `${this.describe(this.code, this.own)}, operation ${this.count} of ${this.name()}`
  }

  name(): string {
    return `ranks ${this.ranks.join(", ")}`
  }

  describe(code: number, bytes: Uint8Array): string {
    const operation = operations[code >>> 12]
    const argument = code & 0xfff
    switch (operation) {
      case "allReduce":
        return `allReduce(${reduction.describe(argument)}, ${bytes.length} bytes)`
      case "broadcast":
        return `broadcast(root ${this.ranks[argument]})`
      default:
        return operation ?? `the unknown operation ${code}`
    }
  }
}

interface Place {
  readonly rank: number
  /** How many ranks the group has. */
  readonly ranks: number
  readonly generation: number
}

/** FNV-1a over 32-bit words. */
const hash = (words: ReadonlyArray<number>): number => {
  let value = 0x811c9dc5
  for (const word of words) {
    for (let shift = 0; shift < 32; shift += 8) value = Math.imul(value ^ word >>> shift & 0xff, 0x01000193)
  }
  return value >>> 0
}

/** All communicators of one rank in one generation, and what they share: lanes, traffic, and their end. */
const makeExchange = ({ generation, rank, ranks: world }: Place) => {
  const members = new Map<number, Member>()
  /** How often each list of ranks was asked for: members ask equally often, so that they get the same channel. */
  const asked = new Map<string, number>()
  /** For communicators that a peer has split and used before this rank has split them. */
  const unsplit = new Map<number, Array<Letter>>()
  const sent = Array.from({ length: world }, () => 0)
  let lanes: PeerLanes | undefined
  let outbox: Array<Letter> = []
  let failure: string | undefined

  const send: Post["send"] = (to, channel, sequence, bytes) => {
    if (lanes === undefined) {
      outbox.push({ rank: to, channel, sequence, bytes })
      return
    }
    sent[to]! += bytes.length
    try {
      lanes.send(to, channel, sequence, bytes)
    } catch (cause) {
      abort(`rank ${rank} could not send ${bytes.length} bytes to rank ${to}: ${String(cause)}`, true)
    }
  }
  const retract: Post["retract"] = (channel) => {
    if (outbox.length > 0) outbox = outbox.filter((letter) => letter.channel !== channel)
  }
  const post: Post = { rank, generation, send, retract }
  const abort = (issue: string, tell: boolean): void => {
    if (failure !== undefined) return
    failure = issue
    unsplit.clear()
    if (!tell) outbox = []
    for (const member of members.values()) member.fail(issue, tell)
  }

  return {
    failed: (): boolean => failure !== undefined,
    traffic: Effect.sync((): ReadonlyArray<number> => sent.slice()),
    receive: (from: number, channel: number, sequence: number, bytes: Uint8Array): void => {
      const member = members.get(channel)
      if (member !== undefined) return member.receive(from, sequence, bytes)
      if (failure !== undefined) return
      const letter = { rank: from, channel, sequence, bytes }
      const waiting = unsplit.get(channel)
      if (waiting === undefined) unsplit.set(channel, [letter])
      // Of each peer an operation and an abort, at most.
      else if (waiting.length < 2 * world) waiting.push(letter)
      else abort(`rank ${from} ran ahead in a communicator that rank ${rank} has not split`, true)
    },
    connected: (to: PeerLanes): void => {
      lanes = to
      const letters = outbox
      outbox = []
      for (const { bytes, channel, rank, sequence } of letters) send(rank, channel, sequence, bytes)
    },
    abort,
    member: (ranks: ReadonlyArray<number>): Member => {
      const distinct = new Set(ranks)
      const within = ranks.every((each) => Number.isInteger(each) && each >= 0 && each < world)
      if (!distinct.has(rank) || distinct.size !== ranks.length || !within || ranks.length > maxRanks) {
        throw new RangeError(
          `rank ${rank} of ${world} cannot be in a communicator of ranks ${ranks.join(", ")}: name each rank of the group once, `
            + `this one too, and ${maxRanks} at most`
        )
      }
      const list = ranks.join(",")
      const nth = asked.get(list) ?? 0
      asked.set(list, nth + 1)
      const channel = hash([generation, nth, ...ranks])
      if (members.has(channel)) {
        throw new RangeError(`ranks ${list} got the channel of ranks ${members.get(channel)?.ranks}: split once more`)
      }
      const member = new Member(post, channel, ranks.slice())
      members.set(channel, member)
      if (failure !== undefined) member.fail(failure, false)
      for (const letter of unsplit.get(channel) ?? []) member.receive(letter.rank, letter.sequence, letter.bytes)
      unsplit.delete(channel)
      return member
    }
  }
}

/** `open` runs before an operation that needs lanes. */
const communicator = (member: Member, open: Effect.Effect<void>): Communicator => {
  const { index, ranks } = member
  const afterOpening = <A>(effect: Effect.Effect<A, CollectiveAborted>) => ranks.length === 1 ? effect : Effect.andThen(open, effect)

  const exchange = (code: number, outgoing: Uint8Array | Parts) =>
    afterOpening(Effect.callback<Parts, CollectiveAborted>((resume) => {
      member.begin(code, outgoing, resume)
      return member.interrupted
    }))

  /** A wrong argument on one rank must not leave the others waiting. */
  const refuse = (code: number, issue: string) =>
    afterOpening(Effect.suspend(() => {
      member.fail(`rank ${ranks[index]} called ${operationOf(code)} ${issue}`, true)
      return member.aborted(code, member.failure!)
    }))

  return {
    index,
    ranks,
    allToAll: (parts) =>
      parts.length === ranks.length
        ? exchange(encode("allToAll"), parts)
        : refuse(encode("allToAll"), `with ${parts.length} parts for ${ranks.length} ranks`),
    allGather: (bytes) => exchange(encode("allGather"), bytes),
    allReduce: <A extends Numbers>(values: A, by: Reduction = "sum") =>
      Effect.map(
        exchange(encode("allReduce", reduction.encode(values, by)), reduction.bytesOf(values)),
        (parts) => reduction.reduce(values, by, parts, index)
      ),
    broadcast: (root, bytes) => {
      const place = ranks.indexOf(root)
      if (place < 0) return refuse(encode("broadcast"), `with root ${root}, which is not of ranks ${ranks.join(", ")}`)
      const code = encode("broadcast", place)
      if (place !== index) return Effect.map(exchange(code, nothing), (parts) => parts[place]!)
      if (bytes === undefined) return refuse(code, "as the root, without bytes")
      return Effect.map(exchange(code, bytes), (parts) => parts[place]!)
    },
    barrier: Effect.asVoid(exchange(encode("barrier"), nothing))
  }
}

const makeService = (place: Place, exchange: ReturnType<typeof makeExchange>, open: Effect.Effect<void>) => {
  const of = (ranks: ReadonlyArray<number>): Communicator => communicator(exchange.member(ranks), open)
  return {
    ...of(Array.from({ length: place.ranks }, (_, rank) => rank)),
    split: of,
    traffic: exchange.traffic
  }
}

export const makeAlone = (): Collectives["Service"] => {
  const place = { rank: 0, ranks: 1, generation: 0 }
  return makeService(place, makeExchange(place), Effect.void)
}

export interface Options extends Place {
  readonly group: string
  readonly secret: string
  /** Tells the driver how this rank is reached and waits for the handles of all, in rank order. */
  readonly join: (handle: Handle) => Effect.Effect<ReadonlyArray<Handle>, CollectiveAborted>
}

const issueOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof CollectiveAborted ? error.issue : error instanceof Error ? error.message : String(error)
}

/** Serves one rank for one generation, until its scope closes. `abort` is what the driver says of a death. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const queues = yield* MessageQueues
  const scope = yield* Effect.scope
  const exchange = makeExchange(options)
  const { group, join, rank, ranks, secret } = options

  const connect = Effect.gen(function*() {
    const peers = yield* queues.peers({
      group,
      secret,
      rank,
      ranks,
      receive: exchange.receive,
      lost: (from, issue) => exchange.abort(`rank ${rank} lost the lane from rank ${from}: ${issue}`, true)
    })
    const handles = yield* join(peers.handle)
    exchange.connected(yield* peers.connect(handles))
  }).pipe(
    Scope.provide(scope),
    Effect.catchCause((cause) => Effect.sync(() => exchange.abort(`rank ${rank} could not join: ${issueOf(cause)}`, false)))
  )

  let opening = false
  const open = Effect.suspend(() => {
    if (opening || exchange.failed()) return Effect.void
    opening = true
    // Not in the caller's fiber, whose interruption is its own matter.
    return Effect.asVoid(Effect.forkIn(connect, scope, { startImmediately: true }))
  })

  const service: Collectives["Service"] = makeService(options, exchange, open)
  yield* Effect.addFinalizer(() => Effect.sync(() => exchange.abort(`rank ${rank} has left`, false)))
  return { service, abort: (issue: string): void => exchange.abort(issue, false) }
})
