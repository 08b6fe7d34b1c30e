/** Calls of every kind, each entered in the ledger before it is made and when it has ended. */
import { CallError, WorkerDied } from "@phalanx/core/WorkerError"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { Random } from "../random.ts"
import type { Load } from "./protocol.ts"
import { type End, now, report } from "./report.ts"

export type Group = WorkerGroup.WorkerGroup<typeof Load, "rank">

/** Some ranks of a group, and its name in the ledger. */
export interface Target {
  readonly group: string
  readonly actors: WorkerGroup.ActorMesh<typeof Load, "rank">
}

/** All ranks. */
export const whole = (group: string, actors: Group): Target => ({ group, actors })
/** Some of them. */
export const part = (group: string, actors: Group, ranks: ReadonlyArray<number>): Target => ({
  group,
  actors: actors.slice({ rank: ranks })
})

interface Answer {
  readonly call: number
  readonly rank: number
}

/** How many have been made. */
let calls = 0

/** What a whole call that failed came to. */
const failure = (cause: Cause.Cause<unknown>): End => {
  if (Cause.hasInterruptsOnly(cause)) return { rank: -1, failed: "Interrupted" }
  const error = Cause.squash(cause)
  if (!(error instanceof CallError)) return { rank: -1, failed: `not typed: ${String(error)}` }
  const { rank, reason } = error as CallError<{ readonly _tag: string }>
  return { rank, failed: reason._tag, ...(reason instanceof WorkerDied && reason.pid !== undefined ? { pid: reason.pid } : {}) }
}

/** Makes a call by its number. It never fails: what it comes to is the ledger's. */
const entered = (
  { actors, group }: Target,
  asks: string,
  make: (call: number) => Effect.Effect<ReadonlyArray<End>, unknown>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const call = calls++
    report({ _tag: "Intent", call, group, asks, ranks: actors.mesh.ranks, at: now() })
    return make(call).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => report({ _tag: "Outcome", call, ends: Exit.isSuccess(exit) ? exit.value : [failure(exit.cause)], at: now() }))
      ),
      Effect.exit,
      Effect.asVoid
    )
  })

/** What is no answer to the call, whatever it is, is told in words. */
const answered = (rank: number, { call, rank: from }: Answer): End =>
  from === rank ? { rank, answers: call } : { rank, failed: `not typed: an answer of rank ${from}` }
const all = ({ actors }: Target) => (answers: ReadonlyArray<Answer>): ReadonlyArray<End> =>
  answers.map((answer, index) => answered(actors.mesh.ranks[index]!, answer))
const each = ({ actors }: Target) => (exits: ReadonlyArray<Exit.Exit<Answer, unknown>>): ReadonlyArray<End> =>
  exits.map((exit, index) => {
    const rank = actors.mesh.ranks[index]!
    return Exit.isSuccess(exit) ? answered(rank, exit.value) : { ...failure(exit.cause), rank }
  })

type Kind = (target: Target, random: Random) => Effect.Effect<void>

const call = (to: Target): Effect.Effect<void> => entered(to, "call ping", (call) => Effect.map(to.actors.call.ping({ call }), all(to)))

const callEach: Kind = (to) =>
  entered(to, "call ping, a payload each", (call) => Effect.map(to.actors.call.ping(() => ({ call })), all(to)))

const byName: Kind = (to) =>
  entered(
    to,
    "callByName ping",
    (call) => Effect.map(to.actors.callByName("ping", { call }), (answers) => all(to)(answers as ReadonlyArray<Answer>))
  )

const exits: Kind = (to) => entered(to, "exits ping", (call) => Effect.map(to.actors.exits.ping({ call }), each(to)))

const fork: Kind = (to) =>
  entered(
    to,
    "fork ping",
    (call) => Effect.flatMap(to.actors.fork.ping({ call }), (fibers) => Effect.map(Effect.forEach(fibers, Fiber.await), each(to)))
  )

const broadcast: Kind = (to) => entered(to, "broadcast ping", (call) => Effect.as(to.actors.broadcast.ping({ call }), []))

const refused: Kind = (to) => entered(to, "exits refuse", (call) => Effect.map(to.actors.exits.refuse({ call }), each(to)))

const bytesOf = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)

const echoed = (to: Target, asks: string, bytes: Uint8Array): Effect.Effect<void> =>
  entered(to, asks, (call) =>
    Effect.map(to.actors.call.echo({ call, bytes }), (answers) =>
      answers.map((answer, index): End => {
        const rank = to.actors.mesh.ranks[index]!
        return Buffer.compare(answer.bytes, bytes) === 0 ? answered(rank, answer) : { rank, failed: "not typed: other bytes" }
      })))

const large: Kind = (to, random) =>
  echoed(to, "call echo", bytesOf(2 ** random.between(10, 20) + random.between(0, 1000), random.between(0, 255)))

/** All elements of all ranks, each rank's in order; or the first few. */
const stream: Kind = (to, random) => {
  const last = random.between(1, 300)
  const few = random.chance(0.3)
  return entered(to, few ? "stream count, in part" : "stream count", (call) =>
    Effect.suspend(() => {
      const heard = new Map(to.actors.mesh.ranks.map((rank) => [rank, 0]))
      let wrong: string | undefined
      // A place in a slice is counted from 0; the rank that answers is the group's.
      const elements = to.actors.stream.count({ call, to: last }).pipe(Stream.tap(({ value }) =>
        Effect.sync(() => {
          if (value.n !== heard.get(value.rank)! + 1 || value.call !== call) wrong ??= JSON.stringify(value)
          heard.set(value.rank, value.n)
        })
      ))
      return Effect.map(Stream.runDrain(few ? Stream.take(elements, 10) : elements), () =>
        [...heard].map(([rank, n]): End => {
          if (wrong === undefined && n === last) return { rank, answers: call }
          // Its reader had enough.
          if (wrong === undefined && few) return { rank, failed: "Interrupted" }
          return { rank, failed: `not typed: ${wrong ?? `${n} elements of ${last}`}` }
        }))
    }))
}

const interrupted: Kind = (to, random) =>
  entered(to, "call hold, interrupted", (call) => Effect.map(to.actors.call.hold({ call }), all(to))).pipe(
    Effect.timeout(random.between(1, 30)),
    Effect.ignore
  )

const timedOut: Kind = (to, random) =>
  entered(
    to,
    "exits hold, with a timeout",
    (call) => Effect.map(to.actors.exits.hold({ call }, { timeout: random.between(1, 50) }), each(to))
  )

const kinds: ReadonlyArray<Kind> = [call, callEach, byName, exits, fork, broadcast, refused, large, stream, interrupted, timedOut]

/** A call of any kind. */
export const any: Kind = (to, random) => random.pick(kinds)(to, random)

/** A collective: every rank of the group tells in which call it is. */
export const meet = (to: Target): Effect.Effect<void> =>
  entered(to, "exits meet", (call) =>
    Effect.map(to.actors.exits.meet({ call }), (exits) =>
      each(to)(exits).map((end, rank): End => {
        const exit = exits[rank]!
        const strays = Exit.isSuccess(exit) ? exit.value.met.filter((other) => other !== call) : []
        return strays.length === 0 ? end : { rank, failed: `not typed: met call ${strays.join(", ")}` }
      })))

/** Asks every rank, and its collectives. */
export const round = (to: Target): Effect.Effect<void> => Effect.andThen(call(to), meet(to))

/** A call that is never answered, so that a death is news to somebody whenever it comes. */
export const watch = (to: Target): Effect.Effect<void> =>
  entered(to, "call hold", (call) => Effect.map(to.actors.call.hold({ call }), all(to)))

/** Has ranks keep their event loops. */
export const block = (to: Target, millis: number, spins: boolean): Effect.Effect<void> =>
  entered(to, "call block", (call) => Effect.map(to.actors.call.block({ call, millis, spins }), all(to)))

/** Has ranks read slowly while all are sent much. */
export const dawdle = (slow: Target, everybody: Target, millis: number, nap: number): Effect.Effect<void> =>
  Effect.asVoid(Effect.all([
    entered(slow, "call dawdle", (call) => Effect.map(slow.actors.call.dawdle({ call, millis, nap }), all(slow))),
    ...Array.from({ length: 8 }, (_, nth) => echoed(everybody, "call echo, at once", bytesOf(1 << 20, nth)))
  ], { concurrency: "unbounded" }))
