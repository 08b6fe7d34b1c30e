import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { CollectiveAborted } from "../CollectiveAborted.ts"
import { noMark } from "./calls.ts"
import * as reduction from "./reduction.ts"

export type Parts = ReadonlyArray<Uint8Array>
type Resume = (exit: Exit.Exit<Parts, CollectiveAborted>) => void

/*
 * A message's sequence: 4 bits say which operation, 12 bits its argument (the root's place, the reduction and its type), 12 bits are the lower half of its call's
 * mark, and 4 bits count the communicator's operations. A peer is one operation ahead at most (CL-6), so that the count may wrap. Its channel: 20 bits say which communicator,
 * 12 bits are the upper half of the mark.
 */
const operations = ["allToAll", "allGather", "allReduce", "broadcast", "barrier"] as const
type Operation = typeof operations[number]
export const encode = (operation: Operation, argument = 0): number => operations.indexOf(operation) << 12 | argument
export const operationOf = (code: number): Operation => operations[code >>> 12]!
const abortCode = 0xf000
const reduceCode = encode("allReduce")
const idle = -1
const counts = 0xf
const half = 12
const channelOf = (communicator: number, mark: number): number => (communicator << half | mark >>> half) >>> 0
export const communicatorOf = (channel: number): number => channel >>> half
export const markIn = (channel: number, sequence: number): number => (channel & 0xfff) << half | sequence >>> 4 & 0xfff
/** What a peer is told that waits for this rank in vain. */
export const abortSequence = abortCode * 0x10000
export const maxRanks = 1 << 12

export const nothing = new Uint8Array(0)
const encoder = new TextEncoder()
const decoder = new TextDecoder()
/** So much of what a peer says of an abort is told, in bytes. */
const longestIssue = 4096

/** What a communicator needs of the rank that it belongs to. */
export interface Post {
  readonly rank: number
  readonly generation: number
  readonly send: (to: number, channel: number, sequence: number, bytes: Uint8Array) => void
  /** Forgets what was not sent yet. */
  readonly retract: (communicator: number) => void
  /** This rank begins nothing any more for the call with this mark. */
  readonly isOver: (mark: number) => boolean
  /** An operation waits from now on. */
  readonly waits: () => void
}

/** This rank's side of one communicator. `begin` and `receive` are the hot path: they allocate one array an operation. */
export class Side {
  readonly post: Post
  readonly number: number
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
  /** The mark of the call that it is for. */
  mark = noMark
  own: Uint8Array = nothing
  resume: Resume | undefined
  /** How many peers it waits for. */
  missing = 0
  /** What has come for it, or for the one that this rank begins next, what the sender had called, and in which call. */
  parts: Array<Uint8Array | undefined>
  codes: Uint16Array
  marks: Uint32Array
  /** What has come from peers that are in the operation after it already. */
  early: Array<Uint8Array | undefined>
  earlyCodes: Uint16Array
  earlyMarks: Uint32Array

  constructor(post: Post, number: number, ranks: ReadonlyArray<number>) {
    this.post = post
    this.number = number
    this.ranks = ranks
    this.index = ranks.indexOf(post.rank)
    ranks.forEach((rank, place) => this.places.set(rank, place))
    this.vacant = ranks.map(() => undefined)
    this.parts = this.vacant.slice()
    this.codes = new Uint16Array(ranks.length)
    this.marks = new Uint32Array(ranks.length)
    this.early = this.vacant.slice()
    this.earlyCodes = new Uint16Array(ranks.length)
    this.earlyMarks = new Uint32Array(ranks.length)
    this.interrupted = Effect.sync(() => {
      if (this.code !== idle) this.fail(`rank ${post.rank} was interrupted in ${this.current()}`, true)
    })
  }

  get waits(): boolean {
    return this.code !== idle
  }

  begin(code: number, mark: number, outgoing: Uint8Array | Parts, resume: Resume): void {
    if (this.code !== idle) {
      const began = this.describe(code, outgoing instanceof Uint8Array ? outgoing : nothing)
      this.fail(`rank ${this.post.rank} began ${began} while it was in ${this.current()}: one fiber at a time`, true)
    }
    if (this.post.isOver(mark)) {
      this.fail(`rank ${this.post.rank} began ${operationOf(code)} for call ${mark - 1}, which it had answered`, true)
    }
    if (this.failure !== undefined) return resume(this.aborted(code, this.failure))
    const { index, parts, ranks } = this
    const size = ranks.length
    this.code = code
    this.mark = mark
    this.own = outgoing instanceof Uint8Array ? outgoing : outgoing[index]!
    this.resume = resume
    this.missing = size - 1
    let odd = idle
    for (let place = 0; place < size; place++) {
      const part = parts[place]
      if (part === undefined) continue
      this.missing--
      if (!this.matches(this.codes[place]!, this.marks[place]!, part)) odd = place
    }
    const channel = channelOf(this.number, mark)
    const sequence = (code << 16 | (mark & 0xfff) << 4 | this.count & counts) >>> 0
    // From the next place on, so that the ranks do not all write to the same one first.
    for (let step = 1; step < size; step++) {
      const place = index + step < size ? index + step : index + step - size
      const bytes = outgoing instanceof Uint8Array ? outgoing : outgoing[place]!
      this.post.send(ranks[place]!, channel, sequence, bytes)
    }
    // A lane may have delivered or failed meanwhile, and so ended it.
    if (this.code === idle) return
    // Only now: the others see what this rank began before it says that it does not fit.
    if (odd !== idle) this.mismatch(odd, this.codes[odd]!, this.marks[odd]!, parts[odd]!)
    else if (this.missing === 0) this.complete()
    else this.post.waits()
  }

  receive(from: number, channel: number, sequence: number, bytes: Uint8Array): void {
    if (this.failure !== undefined) return
    const place = this.places.get(from)
    const code = sequence >>> 16
    if (place === undefined) return this.fail(`rank ${from} is not of ${this.name()} but wrote to it`, true)
    if (code === abortCode) return this.fail(decoder.decode(bytes.subarray(0, longestIssue)), false)
    const mark = markIn(channel, sequence)
    const ahead = sequence - this.count & counts
    if (ahead === 0 && this.parts[place] === undefined) {
      this.parts[place] = bytes
      this.codes[place] = code
      this.marks[place] = mark
      if (this.code === idle) return this.post.isOver(mark) ? this.missed(place) : undefined
      if (!this.matches(code, mark, bytes)) return this.mismatch(place, code, mark, bytes)
      if (--this.missing === 0) this.complete()
    } else if (ahead === 1 && this.code !== idle && this.early[place] === undefined) {
      this.early[place] = bytes
      this.earlyCodes[place] = code
      this.earlyMarks[place] = mark
    } else {
      this.fail(`rank ${from} sent ${this.describe(code, bytes)} out of turn to ${this.name()}`, true)
    }
  }

  /** Some calls are over that were not: peers that wait for this rank in one of them are told. */
  review(): void {
    if (this.code !== idle || this.failure !== undefined) return
    for (let place = 0; place < this.parts.length; place++) {
      if (this.parts[place] !== undefined && this.post.isOver(this.marks[place]!)) return this.missed(place)
    }
  }

  missed(place: number): void {
    const operation = this.describe(this.codes[place]!, this.parts[place]!)
    this.fail(
      `rank ${this.post.rank} took no part in ${operation}, operation ${this.count} of ${this.name()}: `
        + `it had ended call ${this.marks[place]! - 1}, for which rank ${this.ranks[place]} began it`,
      true
    )
  }

  matches(code: number, mark: number, bytes: Uint8Array): boolean {
    return code === this.code && this.meets(mark) && (code >>> 12 !== reduceCode >>> 12 || bytes.length === this.own.length)
  }

  /** What is of no call meets whoever comes. */
  meets(mark: number): boolean {
    return mark === this.mark || mark === noMark || this.mark === noMark
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
    const marks = this.marks
    this.marks = this.earlyMarks
    this.earlyMarks = marks
    this.count++
    this.rest()
    // Runs the fiber, which may begin the next operation.
    resume(Exit.succeed(parts as Parts))
    this.review()
  }

  rest(): void {
    this.code = idle
    this.own = nothing
    this.resume = undefined
  }

  mismatch(place: number, code: number, mark: number, bytes: Uint8Array): void {
    const [their, our] = this.meets(mark) ? ["", ""] : [` for call ${mark - 1}`, ` for call ${this.mark - 1}`]
    const theirs = `rank ${this.ranks[place]} began ${this.describe(code, bytes)}${their}`
    const ours = `rank ${this.post.rank} began ${this.describe(this.code, this.own)}${our}`
    // Nobody need be told: whoever began neither of the two finds out from both, and the others from one.
    this.fail(`${theirs}, ${ours} as operation ${this.count} of ${this.name()}`, false)
  }

  fail(issue: string, tell: boolean): void {
    if (this.failure !== undefined) return
    this.failure = issue
    const { code, resume } = this
    this.rest()
    this.parts = this.vacant.slice()
    this.early = this.vacant.slice()
    if (tell) {
      this.post.retract(this.number)
      const bytes = encoder.encode(issue)
      for (const rank of this.ranks) {
        if (rank !== this.post.rank) this.post.send(rank, channelOf(this.number, noMark), abortSequence, bytes)
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
