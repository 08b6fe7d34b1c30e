/** What must hold of a group that changes its size: what callers may hear, and in which membership each operation must have ended. */
import type { Supervision } from "@phalanx/core/Supervision"
import type * as Draw from "@phalanx/core/testing/Draw"
import * as Fault from "@phalanx/core/testing/Fault"
import type * as Simulation from "@phalanx/core/testing/Simulation"
import type { CallError } from "@phalanx/core/WorkerError"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import type { Operation } from "@phalanx/elastic/Journal"
import type { Status } from "@phalanx/elastic/Operation"
import type { Serving } from "@phalanx/elastic/Resizable"
import { Effect, type Exit, Option } from "effect"
import type { Entry, Ledger, Seats } from "./seats.ts"

export interface Ask {
  readonly _tag: "Ask"
  readonly call: number
  readonly method: "work" | "meet"
  /** The rank that is asked, modulo all; `undefined`: all. */
  readonly one: number | undefined
  readonly millis: number
  readonly timeout: number | undefined
  readonly interruptAfter: number | undefined
}

export type Call =
  | Ask
  | {
    readonly _tag: "Scale"
    readonly size: number
    /** One member leaves, rather than that many ranks are asked for. */
    readonly leave: boolean
    readonly cancelAfter: number | undefined
    readonly deadline: number | undefined
  }
  | { readonly _tag: "Try"; readonly size: number; readonly millis: number }

export const draw = (draw: Draw.Draw, call: number, most: number): Call => {
  switch (draw.weighted({ all: 5, one: 3, meet: 6, scale: 4, try: 1 })) {
    case "scale":
      return {
        _tag: "Scale",
        size: draw.between(1, most),
        leave: draw.chance(0.25),
        cancelAfter: draw.chance(0.2) ? draw.pick([1, 20, 60, 100]) : undefined,
        deadline: draw.chance(0.1) ? draw.pick([20, 60, 200]) : undefined
      }
    case "try":
      return { _tag: "Try", size: draw.between(1, most), millis: draw.pick([0, 20, 100]) }
    case "one":
      return ask(draw, call, "work", draw.below(64))
    case "all":
      return ask(draw, call, "work", undefined)
    case "meet":
      return ask(draw, call, "meet", undefined)
  }
}

const ask = (draw: Draw.Draw, call: number, method: "work" | "meet", one: number | undefined): Ask => ({
  _tag: "Ask",
  call,
  method,
  one,
  millis: draw.chance(0.5) ? 0 : draw.pick([1, 5, 20]),
  timeout: draw.chance(0.1) ? draw.pick([1, 5, 20]) : undefined,
  interruptAfter: draw.chance(method === "meet" ? 0.4 : 0.1) ? draw.pick([0, 1, 2, 5]) : undefined
})

/** Whoever gives a meeting up asks for another one at once. */
export const again = (call: Call): Ask | undefined =>
  call._tag === "Ask" && call.method === "meet" && call.interruptAfter !== undefined
    ? { ...call, call: call.call + 500, timeout: undefined, interruptAfter: undefined }
    : undefined

export const describe = (call: Call): string => JSON.stringify(call)

/** What came of a call. */
export interface Heard {
  readonly call: number
  readonly act: number
  readonly made: number
  readonly ended: number
  readonly ranks: ReadonlyArray<number>
  /** Of the epoch in which it was made, in rank order. */
  readonly members: ReadonlyArray<number>
  readonly exits: ReadonlyArray<Exit.Exit<any, CallError<any>>>
}

/** Makes the call, and tells what came of it, unless it was interrupted. */
export const make = (
  { call, interruptAfter, method, millis, one, timeout }: Ask,
  group: WorkerGroup.WorkerGroup<typeof Seats, "dp">,
  act: number,
  made: number,
  tell: (heard: Omit<Heard, "ended">) => void
): Effect.Effect<void> => {
  const options = timeout === undefined ? undefined : { timeout }
  const asked: Effect.Effect<void> = Effect.suspend(() => {
    const ranks = one === undefined ? group.mesh.ranks : [group.mesh.ranks[one % group.mesh.ranks.length]!]
    const exits: Effect.Effect<ReadonlyArray<Exit.Exit<any, CallError<any>>>> = one !== undefined
      ? Effect.map(Effect.exit(group.at(ranks[0]!).call.work({ call, millis }, options)), (exit) => [exit])
      : method === "work"
      ? group.exits.work({ call, millis }, options)
      : group.exits.meet({ call }, options)
    const members = group.workers.map(({ id }) => id)
    return Effect.map(exits, (exits) => tell({ call, act, made, ranks, members, exits }))
  })
  return interruptAfter === undefined ? asked : Effect.raceFirst(asked, Effect.sleep(interruptAfter))
}

/** Where the last group was at the end. */
export interface Last extends Serving {
  readonly act: number
  readonly group: string
}

export interface Known {
  readonly calls: ReadonlyMap<number, Call>
  readonly heard: ReadonlyArray<Heard>
  readonly ledger: Ledger
  readonly supervision: Supervision<"dp">
  readonly operations: ReadonlyArray<Operation>
  readonly last: Last | undefined
}
type Run = Simulation.Run<"dp">

export function* check(run: Run, known: Known): Generator<string> {
  yield* seated(known.ledger.entries)
  for (const heard of known.heard) yield* answers(run, known, heard)
  yield* handlers(run, known)
  yield* lives(known)
  yield* operated(run, known)
}

/** Nobody else is at a rank of an epoch. */
function* seated(entries: ReadonlyArray<Entry>): Generator<string> {
  const seats = new Map<string, number>()
  for (const { call, epoch, life: { act, member }, rank } of entries) {
    // Those who are to join know their next rank before its epoch.
    if (call >= 1000) continue
    const key = `${act} ${epoch} ${rank}`
    const other = seats.get(key) ?? member
    if (other !== member) yield `GR-2: members ${other} and ${member} were both rank ${rank} of epoch ${epoch}`
    seats.set(key, member)
  }
}

function* answers({ events, faults, falls, lives }: Run, { calls, ledger }: Known, heard: Heard): Generator<string> {
  const { act, call, ended, exits, made, members, ranks } = heard
  const asked = calls.get(call) as Ask
  // What waits for a rank that is started again may come to run in another epoch. Of what is made at the moment of a commit only the group knows on which side it is.
  const sure = !events.some(({ event, ...told }) =>
    told.act === act && (event._tag === "Died" || event._tag === "Resized" && told.millis === made)
  )
  if (exits.length !== ranks.length) yield `CO-1: ${exits.length} of ${ranks.length} ranks have an answer to call ${call}`
  for (const [place, exit] of exits.entries()) {
    const rank = ranks[place]!
    if (exit._tag === "Success") {
      const { value } = exit
      if (value.call !== call) yield `CO-3: rank ${rank} answered call ${call} with the reply of call ${value.call}`
      if (sure && value.member !== members[rank]) {
        yield `GR-2: call ${call} of rank ${rank}, member ${members[rank]}, was answered by member ${value.member}`
      }
      const entry = ledger.entries.find((entry) => entry.call === call && entry.life.act === act && entry.life.member === value.member)
      if (entry?.to === undefined) yield `CO-1: rank ${rank} answered call ${call}, but its handler had not ended`
      if (asked.method === "meet" && (sure ? value.members.join() !== members.join() : !value.members.includes(value.member))) {
        yield `CL-1: rank ${rank} of call ${call} met ${value.members}, and the members were ${members}`
      }
      continue
    }
    const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
    const { reason } = error ?? {}
    switch (reason?._tag) {
      case "WorkerDied": {
        if (reason.reason === "left") yield `GR-5: a member had left before it answered call ${call}`
        const life = lives.find(({ pid }) => pid === reason.pid)
        if (life !== undefined && life.doom === undefined && reason.reason !== "sibling") {
          yield `CO-4: rank ${rank} is told to be dead, but nothing had happened to it`
        }
        break
      }
      case "CallTimeout":
        if (asked.timeout === undefined || ended - made < asked.timeout - 0.001) yield `CO-3: call ${call} timed out before its time`
        break
      case "CallRejected":
        if (!events.some((told) => told.act === act && told.event._tag === "Resized")) {
          yield `CO-9: call ${call} was rejected: ${reason.issue}`
        }
        break
      case "CollectiveAborted": {
        const hurt = falls.some((millis) => millis <= ended) || lives.some((life) =>
          life.act === act && life.doom !== undefined && life.born <= ended
        )
          || faults.some(({ fault, millis }) => fault._tag === "Part" && fault.millis > Fault.deadline && millis <= ended)
          || [...calls.values()].some((other) =>
            other._tag === "Ask" && other.method === "meet" && (other.interruptAfter ?? other.timeout) !== undefined
          )
        if (!hurt) yield `CL-5: call ${call} was aborted, though every rank lived: ${reason.issue}`
        break
      }
      case "CallInterrupted":
        if (!events.some((told) => told.act === act && told.event._tag === "Escalated" && told.millis <= ended)) {
          yield `CO-1: rank ${rank} gave call ${call} up, though nobody had asked`
        }
        break
      default:
        yield `CO-1: call ${call} of rank ${rank} ended in ${String(reason ?? exit.cause)}`
    }
  }
}

function* handlers({ asked }: Run, { ledger }: Known): Generator<string> {
  const seen = new Set<string>()
  const turns = new Map<unknown, { readonly entry: Entry; readonly id: number }>()
  for (const entry of ledger.entries) {
    const { call, life } = entry
    const key = `${call} ${life.act} ${life.member}`
    if (seen.has(key)) yield `CO-1: call ${call} was run twice by member ${life.member}`
    seen.add(key)
    const request = asked.find(({ act, incarnation, member, payload }) =>
      act === life.act && member === life.member && incarnation === life.incarnation && (payload as { call?: number }).call === call
    )
    if (request === undefined) {
      yield `CO-8: member ${life.member}.${life.incarnation} ran call ${call}, which it was never given`
      continue
    }
    const former = turns.get(life)
    if (former !== undefined && former.id > request.id) yield `CO-2: member ${life.member} ran call ${call} after a later one`
    if (former !== undefined && (former.entry.to ?? Infinity) > entry.from) {
      yield `CO-2: member ${life.member} began call ${call} before call ${former.entry.call} had ended`
    }
    turns.set(life, { entry, id: request.id })
  }
}

function* lives({ ledger }: Known): Generator<string> {
  const newest = new Map<string, number>()
  for (const { act, incarnation, member } of ledger.lives) {
    const key = `${act} ${member}`
    if (incarnation <= (newest.get(key) ?? -1)) yield `GR-2: member ${member} began as incarnation ${incarnation} after ${newest.get(key)}`
    newest.set(key, incarnation)
  }
}

/** Milliseconds after a fall by which another driver has claimed the workers. */
const succession = 250

function* operated({ falls, lives, settled }: Run, { last, operations, supervision }: Known): Generator<string> {
  if (last === undefined || settled === undefined) return
  const ended: Array<Status> = []
  for (const { group, id, outcome, state } of operations) {
    if (group !== last.group) continue
    if (state !== "ended") yield `WF-10: operation ${id} is ${state}, and its group lives`
    else ended.push(JSON.parse(Option.getOrThrow(outcome)))
  }
  const reached = ended.flatMap(({ result }) => result?.changed === true ? [result] : [])
  for (const { request, result } of ended) {
    if (result === undefined) continue
    const { members, shape } = result.to
    const fits = "to" in request ? shape["dp"] === request.to["dp"] : request.leave.every((id) => !members.includes(id))
    if (!fits) yield `WF-10: operation ${result.operation} asked for ${JSON.stringify(request)}, and ended in ${JSON.stringify(result.to)}`
  }
  // With those who had entered an epoch it is forgotten, where nobody had written it down.
  const forgotten = lives.some(({ act, doom, gone = -1 }) =>
    act === last.act && doom !== undefined && doom !== "its group ends" &&
    falls.some((millis) => gone >= millis && gone < millis + succession)
  )
  if (supervision._tag !== "Shrink" && !forgotten) {
    if (last.epoch !== reached.length) yield `WF-10: ${reached.length} operations have been carried out, and the epoch is ${last.epoch}`
    const final = reached.toSorted((a, b) => a.to.epoch - b.to.epoch).at(-1)
    if (final !== undefined && final.to.members.join() !== last.members.join()) {
      yield `WF-10: the last operation ended in members ${final.to.members}, and at the end they are ${last.members}`
    }
  }
  for (const { act, doom, gone, incarnation, member } of lives) {
    if (act === last.act && doom === undefined && (gone ?? Infinity) > settled - 500 && !last.members.includes(member)) {
      yield `GR-4: member ${member}.${incarnation} still lives, and is not of ${last.members}`
    }
  }
}
