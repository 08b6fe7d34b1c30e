import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { CollectiveAborted } from "../CollectiveAborted.ts"
import type { Collectives, Communicator, Numbers, Reduction } from "../Collectives.ts"
import type { Handle, PeerLanes } from "../MessageQueues.ts"
import { MessageQueues } from "../MessageQueues.ts"
import { type Calls, make as makeCalls, markOf, noCall } from "./calls.ts"
import {
  abortSequence,
  communicatorOf,
  encode,
  markIn,
  maxRanks,
  nothing,
  operationOf,
  type Parts,
  type Post,
  Side
} from "./communicatorSide.ts"
import * as reduction from "./reduction.ts"
import { Asked } from "./self.ts"

/** One message between ranks; `rank` is the other end. */
interface Letter {
  readonly rank: number
  readonly channel: number
  readonly sequence: number
  readonly bytes: Uint8Array
}

interface Place {
  readonly rank: number
  /** How many ranks the group has. */
  readonly ranks: number
  readonly generation: number
  readonly calls: Calls
}

/** FNV-1a over 32-bit words, folded to the 20 bits that lanes have room for. */
const hash = (words: ReadonlyArray<number>): number => {
  let value = 0x811c9dc5
  for (const word of words) {
    for (let shift = 0; shift < 32; shift += 8) value = Math.imul(value ^ word >>> shift & 0xff, 0x01000193)
  }
  return (value >>> 20 ^ value) & 0xfffff
}

const encoder = new TextEncoder()

/** For how many communicators messages are kept before this rank has split them. */
const mostUnsplit = 1024

/** All communicators of one rank in one generation, and what they share: lanes, traffic, and their end. */
const makeExchange = ({ calls, generation, rank, ranks: world }: Place) => {
  const sides = new Map<number, Side>()
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
  const retract: Post["retract"] = (communicator) => {
    if (outbox.length > 0) outbox = outbox.filter(({ channel }) => communicatorOf(channel) !== communicator)
  }
  const post: Post = { rank, generation, send, retract, isOver: calls.isOver, waits: () => lanes?.look?.() }
  const abort = (issue: string, tell: boolean): void => {
    if (failure !== undefined) return
    failure = issue
    unsplit.clear()
    if (!tell) outbox = []
    for (const side of sides.values()) side.fail(issue, tell)
  }

  /** Who waits for this rank in a communicator that it did not split in its call is told so; and so is this rank, should it split it yet. */
  const refuse = (letters: Array<Letter>): void => {
    for (const [nth, { channel, rank: from, sequence }] of letters.entries()) {
      const mark = markIn(channel, sequence)
      if (sequence === abortSequence || !calls.isOver(mark)) continue
      const bytes = encoder.encode(`rank ${rank} had ended call ${mark - 1}, for which rank ${from} began an operation`)
      letters[nth] = { rank: from, channel, sequence: abortSequence, bytes }
      send(from, channel, abortSequence, bytes)
    }
  }

  return {
    /** The fewest messages that end an operation. */
    awaited: (): number => {
      let fewest = 0
      for (const side of sides.values()) if (side.waits && (fewest === 0 || side.missing < fewest)) fewest = side.missing
      return fewest
    },
    failed: (): boolean => failure !== undefined,
    traffic: Effect.sync((): ReadonlyArray<number> => sent.slice()),
    receive: (from: number, channel: number, sequence: number, bytes: Uint8Array): void => {
      const number = communicatorOf(channel)
      const side = sides.get(number)
      if (side !== undefined) return side.receive(from, channel, sequence, bytes)
      if (failure !== undefined) return
      const letter = { rank: from, channel, sequence, bytes }
      const waiting = unsplit.get(number)
      if (waiting === undefined) {
        if (unsplit.size < mostUnsplit) {
          const letters = [letter]
          unsplit.set(number, letters)
          refuse(letters)
        } else abort(`rank ${from} wrote to more communicators than rank ${rank} keeps messages for before it has split them`, true)
        return
      }
      // Of each peer an operation and an abort, at most.
      if (waiting.length < 2 * world) {
        waiting.push(letter)
        refuse(waiting)
      } else abort(`rank ${from} ran ahead in a communicator that rank ${rank} has not split`, true)
    },
    connected: (to: PeerLanes): void => {
      lanes = to
      const letters = outbox
      outbox = []
      for (const { bytes, channel, rank, sequence } of letters) send(rank, channel, sequence, bytes)
    },
    abort,
    review: (): void => {
      for (const side of sides.values()) side.review()
      for (const letters of unsplit.values()) refuse(letters)
    },
    /** Members ask equally often for a list of ranks, so that the n-th time they get the same number. */
    side: (ranks: ReadonlyArray<number>, nth: number): Side => {
      const distinct = new Set(ranks)
      const within = ranks.every((each) => Number.isInteger(each) && each >= 0 && each < world)
      if (!distinct.has(rank) || distinct.size !== ranks.length || !within || ranks.length > maxRanks) {
        throw new RangeError(
          `rank ${rank} of ${world} cannot be in a communicator of ranks ${ranks.join(", ")}: name each rank of the group once, `
            + `this one too, and ${maxRanks} at most`
        )
      }
      // Not of the generation: what can be split in one can be split in all.
      const number = hash([nth, ...ranks])
      if (sides.has(number)) {
        throw new RangeError(`ranks ${ranks.join(",")} got the number of ranks ${sides.get(number)?.ranks}: split once more`)
      }
      const side = new Side(post, number, ranks.slice())
      sides.set(number, side)
      if (failure !== undefined) side.fail(failure, false)
      for (const letter of unsplit.get(number) ?? []) side.receive(letter.rank, letter.channel, letter.sequence, letter.bytes)
      unsplit.delete(number)
      return side
    }
  }
}

/** `open` runs before an operation that needs lanes. */
const communicator = (side: Side, open: Effect.Effect<void>): Communicator => {
  const { index, ranks } = side
  const afterOpening = <A>(effect: Effect.Effect<A, CollectiveAborted>) => ranks.length === 1 ? effect : Effect.andThen(open, effect)

  const exchange = (code: number, outgoing: Uint8Array | Parts) =>
    afterOpening(Effect.callback<Parts, CollectiveAborted>((resume) => {
      side.begin(code, markOf(Fiber.getCurrent()?.getRef(Asked)?.call ?? noCall), outgoing, resume)
      return side.interrupted
    }))

  /** A wrong argument on one rank must not leave the others waiting. */
  const refuse = (code: number, issue: string) =>
    afterOpening(Effect.suspend(() => {
      side.fail(`rank ${ranks[index]} called ${operationOf(code)} ${issue}`, true)
      return side.aborted(code, side.failure!)
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

/** No split is this one: the world is there before anything is split. */
const worldsTime = -1

const makeService = (place: Place, exchange: ReturnType<typeof makeExchange>, open: Effect.Effect<void>) => {
  const split = (ranks: ReadonlyArray<number>, nth: number): Communicator => communicator(exchange.side(ranks, nth), open)
  const world = split(Array.from({ length: place.ranks }, (_, rank) => rank), worldsTime)
  const asked = counting()
  const service: Collectives["Service"] = { ...world, split: (ranks) => split(ranks, asked(ranks)), traffic: exchange.traffic }
  return { service, split }
}

/** How often each list of ranks has been asked for before. */
export const counting = (): (ranks: ReadonlyArray<number>) => number => {
  const times = new Map<string, number>()
  return (ranks) => {
    const list = ranks.join(",")
    const nth = times.get(list) ?? 0
    times.set(list, nth + 1)
    return nth
  }
}

export const makeAlone = (): Collectives["Service"] => {
  const place = { rank: 0, ranks: 1, generation: 0, calls: makeCalls(() => {}) }
  return makeService(place, makeExchange(place), Effect.void).service
}

export interface Options extends Place {
  readonly group: string
  readonly secret: string
  /** Tells the driver how this rank is reached and waits for the handles of all, in rank order. */
  readonly join: (handle: Handle) => Effect.Effect<ReadonlyArray<Handle>, CollectiveAborted>
  /** Tells the driver that this rank cannot be reached, or cannot reach the others, who wait for it. */
  readonly unable: (issue: string) => void
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
  const { group, join, rank, ranks, secret, unable } = options

  const connect = Effect.gen(function*() {
    const peers = yield* queues.peers({
      group,
      secret,
      rank,
      ranks,
      receive: exchange.receive,
      awaited: exchange.awaited,
      lost: (from, issue) => exchange.abort(`rank ${rank} lost the lane from rank ${from}: ${issue}`, true)
    })
    const handles = yield* join(peers.handle)
    exchange.connected(yield* peers.connect(handles))
  }).pipe(
    Scope.provide(scope),
    Effect.catchCause((cause) =>
      Effect.sync(() => {
        const issue = `rank ${rank} could not join: ${issueOf(cause)}`
        const isNews = !exchange.failed() && !Cause.hasInterruptsOnly(cause)
        exchange.abort(issue, false)
        if (isNews) unable(issue)
      })
    )
  )

  let opening = false
  const open = Effect.suspend(() => {
    if (opening || exchange.failed()) return Effect.void
    opening = true
    // Not in the caller's fiber, whose interruption is its own matter.
    return Effect.asVoid(Effect.forkIn(connect, scope, { startImmediately: true }))
  })

  const made = makeService(options, exchange, open)
  yield* Effect.addFinalizer(() => Effect.sync(() => exchange.abort(`rank ${rank} has left`, false)))
  return { ...made, open, review: exchange.review, abort: (issue: string): void => exchange.abort(issue, false) }
})
export type Made = Effect.Success<ReturnType<typeof make>>
