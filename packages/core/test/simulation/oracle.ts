/**
 * The contract as a model: what a caller may hear of each rank, and what the workers' ledger must show, given which faults there were.
 */
import type { Supervision } from "@phalanx/core/Supervision"
import * as Fault from "@phalanx/core/testing/Fault"
import type * as Simulation from "@phalanx/core/testing/Simulation"
import { Duration, type Exit } from "effect"
import { type Entry, type Fate, type Ledger, proof } from "./load.ts"
import { type Call, type Dimensions, fateAt, type Heard } from "./steps.ts"

export interface Known {
  readonly ledger: Ledger
  readonly calls: ReadonlyMap<number, Call>
  readonly supervision: Supervision<Dimensions>
  readonly restores: boolean
}

type Run = Simulation.Run<Dimensions>

/** Milliseconds by which what happens at once may be late: news of an end, and the last words of the dead. */
const slack = 12

export function* check(run: Run, known: Known): Generator<string> {
  const model = makeModel(run, known)
  for (const result of run.results) {
    const call = known.calls.get(result.index)!
    if (result.exit._tag === "Failure") continue
    const heard = result.exit.value as Heard
    for (const sentence of answers(model, call, heard, result)) yield `${sentence} (call ${call.call} of group ${result.act})`
  }
  yield* handlers(model)
  yield* lives(model)
  yield* supervised(model)
}

const makeModel = (run: Run, { calls, ledger, restores, supervision }: Known) => {
  const entries = Map.groupBy(ledger.entries, (entry) => entry.call)
  const asked = Map.groupBy(run.asked.filter(({ method }) => method !== "restore"), ({ payload }) => (payload as { call: number }).call)
  const byPid = new Map(run.lives.map((life) => [life.pid, life]))
  const resized = run.events.some(({ event }) => event._tag === "Resized")
  const escalated = (act: number): number =>
    run.events.find((told) => told.act === act && told.event._tag === "Escalated")?.millis ?? Infinity
  return { run, calls, ledger, restores, supervision, entries, asked, byPid, resized, escalated }
}
type Model = ReturnType<typeof makeModel>

// ---------------------------------------------------------------------------------------------------- answers
function* answers(model: Model, call: Call, heard: Heard, { act, ended }: Simulation.Result): Generator<string> {
  const { exits, made, ranks, whole } = heard
  const entries = model.entries.get(call.call) ?? []
  const entryOf = (value: { member: number; incarnation: number }): Entry | undefined =>
    entries.find(({ life }) => life.act === act && life.member === value.member && life.incarnation === value.incarnation)
  const fateOf = (rank: number): Fate => fateAt(call, ranks.indexOf(rank), ranks.length)

  /** A value must be what the handler of that member and life computed for this call. */
  function* value(rank: number, value: any, nth = 0): Generator<string> {
    if (value === undefined) return yield `CO-1: rank ${rank} has no answer`
    if (value.call !== call.call) return yield `CO-3: rank ${rank} answered with the reply of call ${value.call}`
    if (!model.resized && value.member !== rank) yield `CO-3: rank ${rank} answered with the reply of member ${value.member}`
    if (value.proof !== proof(call.call, value.member, value.incarnation, nth)) {
      yield `CO-3: the reply of rank ${rank} is not what its handler computed`
    }
    const entry = entryOf(value)
    if (entry === undefined || call.adverb !== "stream" && entry.ended === undefined) {
      yield `CO-1: rank ${rank} answered, but no handler of incarnation ${value.incarnation} had ended`
    }
  }

  if (whole && call.adverb !== "replyFrom" && call.adverb !== "broadcast" && call.adverb !== "stream" && exits.size !== ranks.length) {
    yield `CO-1: ${exits.size} of ${ranks.length} ranks have an answer`
  }
  for (const [rank, exit] of exits) {
    if (exit?._tag === "Success") {
      if (call.method === "meet") yield* met(model, call, rank, exit.value)
      else {
        if (fateOf(rank) !== "reply") yield `CO-1: rank ${rank} answered with a reply, and its handler ended otherwise`
        yield* value(rank, exit.value)
      }
    } else if (exit === undefined) yield `CO-1: rank ${rank} has no answer`
    else yield* failure(model, call, heard, act, ended, rank, exit, fateOf(rank))
  }
  for (const rank of call.adverb === "stream" ? ranks : []) {
    const values = heard.elements.filter((element) => element.rank === rank).map((element) => element.value)
    const expected = call.method === "flow" ? call.count : 1
    if (whole && values.length !== expected) yield `CO-1: the stream of rank ${rank} has ${values.length} elements, not ${expected}`
    for (const [nth, element] of values.entries()) yield* value(rank, element, call.method === "flow" ? nth : 0)
  }
  const bound = call.interruptAfter !== undefined || call.adverb === "stream" || call.adverb === "broadcast" ? undefined : call.timeout
  if (bound !== undefined && ended - made > bound + slack + model.run.stalled) {
    yield `CO-3: a call with a timeout of ${bound} ms took ${ended - made} ms`
  }
}

function* met({ run, resized }: Model, { call }: Call, rank: number, sum: number): Generator<string> {
  const sumOf = (ranks: number) => ranks * call + ranks * (ranks - 1) / 2
  const sizes = resized ? run.mesh.ranks.map((rank) => rank + 1) : [run.mesh.ranks.length]
  if (!sizes.some((size) => sumOf(size) === sum)) yield `CL-1: rank ${rank} got ${sum} from a sum of ${run.mesh.ranks.length} ranks`
}

function* failure(
  model: Model,
  call: Call,
  { made, ranks }: Heard,
  act: number,
  ended: number,
  rank: number,
  exit: Exit.Failure<any, any>,
  fate: Fate
): Generator<string> {
  const { asked, byPid, calls, entries, escalated, run, supervision } = model
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  // A fiber of `fork` can be interrupted along with the step.
  if (error === undefined) {
    return yield `CO-1: rank ${rank} ended in no typed error: ${exit.cause.reasons.map(({ _tag }) => _tag).join(", ")}`
  }
  if (error.rank !== rank || !ranks.includes(rank)) yield `CO-3: the error of rank ${error.rank} is told for rank ${rank}`
  const { reason } = error
  const ours = (entries.get(call.call) ?? []).filter(({ life }) => life.act === act)
  const ending = () => escalated(act) <= ended || run.settled !== undefined && run.settled <= ended
  switch (reason._tag) {
    case "Refused":
      if (fate !== "error" || reason.call !== call.call) yield `CO-3: rank ${rank} answered with an error that is not its own`
      if (!ours.some(({ life }) => life.member === reason.member && life.incarnation === reason.incarnation)) {
        yield `CO-1: rank ${rank} answered with an error, but no handler ran`
      }
      return
    case "CallDefect":
      if (fate !== "defect" || !String(reason.cause).includes(`defect of call ${call.call}`)) {
        yield `CO-3: rank ${rank} answered with a defect not its own`
      }
      return
    case "CallInterrupted":
      if (fate !== "quit" && !ending()) yield `CO-1: rank ${rank} gave up, though nobody had asked`
      return
    case "CallRejected": {
      const nowhere = model.resized && String(reason.issue).includes("no such rank")
      const lies = reason.side === "worker" && fate === "lie"
      if (!call.unfit && !lies && !nowhere) yield `CO-9: rank ${rank} was rejected: ${reason.issue}`
      return
    }
    case "CallTimeout":
      if (call.timeout === undefined || ended - made < call.timeout - 0.001) yield `CO-3: rank ${rank} timed out before its time`
      return
    case "CollectiveAborted": {
      const hurt = run.lives.some((life) => life.act === act && life.doom !== undefined && life.born <= ended)
        || run.faults.some(({ fault, millis }) => fault._tag === "Part" && fault.millis > Fault.deadline && millis <= ended)
        || run.results.some((other) => other.act === act && calls.get(other.index)!.method === "meet" && cancels(calls.get(other.index)!))
      if (!hurt) yield `CL-5: rank ${rank} was aborted, though every rank lived: ${reason.issue}`
      return
    }
    case "WorkerDied": {
      const life = reason.pid === undefined ? undefined : byPid.get(reason.pid)
      if (life === undefined) return
      if (!model.resized && life.rank !== rank) yield `CO-4: rank ${rank} is told the death of rank ${life.rank}`
      if (life.doom === undefined && reason.reason !== "sibling") {
        yield `CO-4: rank ${rank} is told to be dead, but nothing had happened to it`
      }
      const waits = supervision._tag === "Restart" && supervision.calls === "wait"
      const late = life.told !== undefined && made > life.told + slack && escalated(act) > ended
      if (waits && late) yield `CO-5: a call made while rank ${rank} restarted failed with the former death`
      if (
        (asked.get(call.call) ?? []).some((request) =>
          request.act === act && request.member === life.member && request.incarnation > life.incarnation
        )
      ) {
        yield `CO-5: a call of rank ${rank} ended in WorkerDied, and was given to the next incarnation`
      }
      return
    }
    default:
      yield `CO-1: rank ${rank} ended in ${String(reason)}`
  }
}

/** Whether a call may stop before all of its ranks have answered. */
const cancels = ({ adverb, interruptAfter, timeout, unfit }: Call): boolean =>
  adverb === "call" || interruptAfter !== undefined || timeout !== undefined || unfit

// ---------------------------------------------------------------------------------------------------- handlers
function* handlers({ asked, calls, escalated, ledger, run }: Model): Generator<string> {
  const last = run.results.reduce((act, result) => Math.max(act, result.act), 0)
  const doomed = (entry: Entry): boolean =>
    run.lives.some(({ act, doom, incarnation, member, told }) =>
      act === entry.life.act && member === entry.life.member && incarnation === entry.life.incarnation &&
      (doom !== undefined && doom !== "its group ends" || told !== undefined)
    )
  const seen = new Set<string>()
  const turns = new Map<unknown, { entry: Entry; id: number }>()
  for (const entry of ledger.entries) {
    const { call, life, method } = entry
    const who = `member ${life.member}.${life.incarnation} of group ${life.act}`
    const key = `${call} ${life.act} ${life.member}`
    if (seen.has(key)) yield `CO-1: call ${call} was run twice by member ${life.member}`
    seen.add(key)
    const request = asked.get(call)?.find(({ act, incarnation, member }) =>
      act === life.act && member === life.member && incarnation === life.incarnation
    )
    if (request === undefined) yield `CO-8: ${who} ran call ${call}, which it was never given`
    // In turn: one at a time, in the order in which the calls were made.
    if (request !== undefined && (method === "work" || method === "meet")) {
      const former = turns.get(life)
      if (former !== undefined && former.id > request.id) yield `CO-2: ${who} ran call ${call} after a later one`
      if (former !== undefined && (former.entry.to ?? Infinity) > entry.from) {
        yield `CO-2: ${who} began call ${call} before call ${former.entry.call} had ended`
      }
      turns.set(life, { entry, id: request.id })
    }
    if (life.act === last && run.settled !== undefined && (entry.ended ?? Infinity) >= run.settled && !doomed(entry)) {
      yield `CO-6: ${who} still ran call ${call} when nobody waited for it any more`
    }
  }
  // Who is not told of failures must be able to rely on this.
  for (const { act, exit, index } of run.results) {
    const call = calls.get(index)!
    if (
      exit._tag === "Failure" || call.adverb !== "broadcast" && call.adverb !== "replyFrom" || !(exit.value as Heard).whole ||
      act !== last || escalated(act) < Infinity
    ) continue
    for (const { incarnation, member } of asked.get(call.call) ?? []) {
      const entry = ledger.entries.find(({ call, life }) => call === index && life.act === act && life.member === member)
      const life = run.lives.find((life) => life.act === act && life.member === member && life.incarnation === incarnation)
      if (entry === undefined && life?.told === undefined && !call.unfit) {
        yield `CO-1: ${call.adverb} ${call.call} was not run by member ${member}`
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------- lives
function* lives({ escalated, ledger, restores, run }: Model): Generator<string> {
  const next = new Map<string, number>()
  const places = new Map<string, string>()
  for (const life of run.lives) {
    const { act, gone, incarnation, member, ready, told } = life
    const key = `${act} ${member}`
    const former = next.get(key) ?? -1
    // A life that could not be begun has no process.
    if (incarnation <= former) yield `CO-5: member ${member} lived as incarnation ${incarnation} after ${former}`
    next.set(key, incarnation)
    const own = ledger.lives.filter((other) => other.act === act && other.member === member && other.incarnation === incarnation)
    if (own.length > 1) yield `CO-5: member ${member}.${incarnation} was set up ${own.length} times`
    if (ready !== undefined && own.length === 0) yield `CO-5: member ${member}.${incarnation} is ready and was never set up`
    for (const { coordinates, incarnation: nth } of own) {
      if (!run.events.some(({ event }) => event._tag === "Resized") && (places.get(key) ?? coordinates) !== coordinates) {
        yield `CO-5: member ${member}.${nth} is at ${coordinates}, and was at ${places.get(key)}`
      }
      places.set(key, coordinates)
    }
    const closed = run.settled ?? Infinity
    const known = told ?? Infinity
    if (
      ready !== undefined && gone !== undefined && gone < closed && known > gone + slack + run.stalled && life.doom !== "its group ends"
    ) {
      // A group that has failed, or has not begun, tells nothing any more.
      const begun = run.events.some((told) => told.act === act)
      if (begun && escalated(act) > gone + slack + run.stalled) {
        yield `CO-4: the death of member ${member}.${incarnation} was known ${known - gone} ms after it`
      }
    }
  }
  if (!restores) return
  for (const { call, life } of ledger.entries) {
    if (life.incarnation > 0 && !life.restored) {
      yield `CO-5: member ${life.member}.${life.incarnation} ran call ${call} before its state was restored`
    }
  }
}

// ---------------------------------------------------------------------------------------------------- supervision
function* supervised({ run, supervision }: Model): Generator<string> {
  const acts = Map.groupBy(run.events, ({ act }) => act)
  for (const [act, told] of acts) {
    const of = (tag: string) => told.filter(({ event }) => event._tag === tag)
    const over = of("Escalated")
    if (over.length > 1) yield `CO-5: group ${act} failed ${over.length} times`
    const end = told.findIndex(({ event }) => event._tag === "Escalated")
    if (end >= 0 && told.slice(end).some(({ event }) => event._tag === "Restarted" || event._tag === "Resized")) {
      yield `CO-5: group ${act} went on after it had failed`
    }
    const deaths = of("Died")
    if (supervision._tag === "Escalate" && deaths.length > 0 && over.length === 0) yield `CO-5: group ${act} lost a rank and did not fail`
    if (supervision._tag === "Restart") {
      const { max, per } = supervision
      const window = Duration.toMillis(per)
      const before = deaths.filter(({ millis }) => over.length === 0 || millis <= over[0]!.millis)
      const most = before.reduce(
        (most, { millis }) =>
          Math.max(most, before.filter((other) => other.millis <= millis && millis - other.millis < window - 1 - run.stalled).length),
        0
      )
      const least = before.reduce(
        (most, { millis }) =>
          Math.max(most, before.filter((other) => other.millis <= millis && millis - other.millis < window + 1 + run.stalled).length),
        0
      )
      if (over.length === 0 && most > max) yield `CO-5: group ${act} lived through ${most} deaths in ${window} ms, and may through ${max}`
      if (over.length > 0 && least <= max) {
        yield `CO-5: group ${act} failed at death ${least} in ${window} ms, and should live through ${max}`
      }
    }
    let epoch = 0
    let dp = run.mesh.shape.dp
    for (const { event } of of("Resized")) {
      if (event._tag !== "Resized") continue
      if (event.epoch !== ++epoch) yield `CO-5: epoch ${event.epoch} of group ${act} came after ${epoch - 1}`
      if (event.shape["dp"] !== --dp) yield `CO-5: group ${act} shrank to ${JSON.stringify(event.shape)}, not to dp ${dp}`
      if (event.left.length !== run.mesh.shape.tp) yield `CO-5: ${event.left.length} members left group ${act}, not a slice`
    }
  }
}
