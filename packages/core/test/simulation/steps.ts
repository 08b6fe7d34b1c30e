/** Calls of every kind, drawn, made, and what came of them. */
import type * as Mesh from "@phalanx/core/Mesh"
import type * as Draw from "@phalanx/core/testing/Draw"
import type { CallError } from "@phalanx/core/WorkerError"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import type { Fate, Load } from "./load.ts"

export type Dimensions = "dp" | "tp"
export type Group = WorkerGroup.WorkerGroup<typeof Load, Dimensions>

const adverbs = { call: 7, exits: 4, at: 20, fork: 1.5, broadcast: 2, replyFrom: 1, stream: 0.7 } as const
type Adverb = keyof typeof adverbs
const methods = { work: 14, aside: 3, meet: 1, flow: 0.2 } as const
type Method = keyof typeof methods
/** The first calls of a run, so that each run has all of them. */
const first: ReadonlyArray<readonly [Adverb, Method]> = [
  ["call", "work"],
  ["exits", "aside"],
  ["fork", "work"],
  ["stream", "work"],
  ["stream", "flow"],
  ["broadcast", "work"],
  ["replyFrom", "work"],
  ["at", "aside"],
  ["call", "meet"],
  ["exits", "meet"]
]

/** A call as it will be made. */
export interface Call {
  readonly call: number
  readonly adverb: Adverb
  readonly method: Method
  /** Which ranks of the mesh that there is then; of a slice or one rank, the n-th. */
  readonly target: { readonly _tag: "whole" } | { readonly _tag: "slice"; readonly along: Dimensions; readonly nth: number } | {
    readonly _tag: "one"
    readonly nth: number
  }
  readonly millis: number
  /** How many elements a stream has. */
  readonly count: number
  readonly timeout: number | undefined
  /** Milliseconds after which the caller is interrupted. */
  readonly interruptAfter: number | undefined
  /** The one fiber of `fork` that is interrupted, by its place. */
  readonly interruptOne: number | undefined
  readonly fate: Fate
  /** Each rank has a payload of its own: only the n-th has the fate, the others reply. */
  readonly odd: number | undefined
  /** It does not fit the protocol. */
  readonly unfit: boolean
}

/** What came of a call. */
export interface Heard {
  /** In the world's time; before the call was made. */
  readonly made: number
  readonly ranks: ReadonlyArray<number>
  readonly exits: ReadonlyMap<number, Exit.Exit<any, CallError<any>>>
  /** Of a stream. */
  readonly elements: ReadonlyArray<{ readonly rank: number; readonly value: any }>
  /** All answers are known: none failed first, and nobody was interrupted. */
  readonly whole: boolean
}

export const draw = (draw: Draw.Draw, call: number): Call => {
  const [adverb, method] = first[call] ?? [draw.weighted(adverbs), draw.weighted(methods)]
  const streams = method === "flow"
  const meets = method === "meet"
  const target = adverb === "at"
    ? { _tag: "one", nth: draw.below(64) } as const
    : meets || draw.chance(0.08)
    ? { _tag: "whole" } as const
    : { _tag: "slice", along: draw.pick(["dp", "dp", "dp", "tp"] as const), nth: draw.below(64) } as const
  return {
    call,
    adverb: streams ? "stream" : meets ? draw.pick(["call", "exits"] as const) : adverb,
    method,
    target: meets ? { _tag: "whole" } : target,
    millis: draw.chance(0.7) ? 0 : draw.pick([1, 2, 5, 20, 100]),
    count: draw.between(1, 4),
    timeout: draw.chance(0.1) ? draw.pick([1, 5, 20, 200]) : undefined,
    interruptAfter: draw.chance(0.06) ? draw.pick([0, 1, 5, 20]) : undefined,
    interruptOne: adverb === "fork" && draw.chance(0.3) ? draw.below(64) : undefined,
    fate: draw.weighted({ reply: 30, error: 2, defect: 1, quit: 1, lie: 1 }),
    odd: draw.chance(0.25) ? draw.below(64) : undefined,
    unfit: draw.chance(0.01)
  }
}

export const describe = ({ adverb, call, fate, interruptAfter, interruptOne, method, millis, target, timeout, unfit }: Call): string =>
  `${adverb}.${method}({ call: ${call}, millis: ${millis}, fate: ${fate} }) of `
  + (target._tag === "whole"
    ? "all ranks"
    : target._tag === "one"
    ? `rank ${target.nth} modulo all`
    : `slice ${target.nth} along ${target.along}`)
  + (timeout === undefined ? "" : `, timeout ${timeout} ms`)
  + (interruptAfter === undefined ? "" : `, interrupted after ${interruptAfter} ms`)
  + (interruptOne === undefined ? "" : ", one fiber interrupted")
  + (unfit ? ", unfit" : "")

/** How a rank's handler ends, by the rank's place among those called. */
export const fateAt = ({ fate, odd }: Call, place: number, ranks: number): Fate =>
  odd === undefined || place === odd % ranks ? fate : "reply"

/** What was selected of a group is kept, as programs do: it holds its selector, and resolves when a call starts. */
const selections = new WeakMap<Group, Map<string, any>>()
const select = (target: Call["target"], group: Group): any => {
  if (target._tag === "whole") return group
  const { ranks, shape } = group.mesh
  const nth = target.nth % (target._tag === "one" ? ranks.length : shape[target.along])
  const name = `${target._tag === "one" ? "rank" : target.along} ${nth}`
  const kept = selections.get(group) ?? new Map<string, any>()
  selections.set(group, kept)
  const selected = kept.get(name) ?? (target._tag === "one" ? group.at(nth) : group.slice({ [target.along]: nth } as any))
  kept.set(name, selected)
  return selected
}

/** Makes the call, and tells what came of it. */
export const run = (call: Call, group: Group, made: number): Effect.Effect<Heard> => {
  const { adverb, method, target } = call
  const selected = select(target, group)
  const ranks: ReadonlyArray<number> = target._tag === "one" ? [selected.rank] : selected.mesh.ranks
  const n = call.unfit ? 0.5 : call.call
  const payloadAt = (place: number): any =>
    method === "meet"
      ? { call: n }
      : method === "flow"
      ? { call: n, count: call.count, millis: call.millis }
      : { call: n, millis: call.millis, fate: fateAt(call, place, ranks.length) }
  const payload: any = call.odd === undefined || target._tag === "one"
    ? payloadAt(0)
    : ({ rank }: Mesh.Place<string>) => payloadAt(ranks.indexOf(rank))
  const options = call.timeout === undefined ? undefined : { timeout: call.timeout }

  const heard = (exits: Iterable<readonly [number, Exit.Exit<any, any>]>, whole: boolean, elements: Heard["elements"] = []): Heard => ({
    made,
    ranks,
    exits: new Map(exits),
    elements,
    whole
  })
  /** Of a call that fails, only the rank that failed it is known. */
  const failed = (exit: Exit.Failure<any, CallError<any>>, elements?: Heard["elements"]): Heard => {
    const error = exit.cause.reasons.find(Cause.isFailReason)?.error
    if (error === undefined && !Cause.hasInterruptsOnly(exit.cause)) throw Cause.squash(exit.cause)
    return heard(error === undefined ? [] : [[error.rank, exit]], false, elements)
  }
  const told = <A>(effect: Effect.Effect<A, any>, f: (value: A) => Heard): Effect.Effect<Heard> =>
    Effect.map(Effect.exit(effect), (exit) => exit._tag === "Success" ? f(exit.value) : failed(exit))

  const make = (): Effect.Effect<Heard> => {
    switch (adverb) {
      case "call":
        return told(
          selected.call[method](payload, options) as Effect.Effect<ReadonlyArray<any>, any>,
          (values) => heard(ranks.map((rank, place) => [rank, Exit.succeed(values[place])]), true)
        )
      case "at":
        return told(selected.call[method](payload, options), (value) => heard([[ranks[0]!, Exit.succeed(value)]], true))
      case "replyFrom": {
        const rank = ranks[call.call % ranks.length]!
        return told(
          selected.call[method](payload, { ...options, replyFrom: rank }),
          (value) => heard([[rank, Exit.succeed(value)]], true)
        )
      }
      case "exits":
        return Effect.map(
          selected.exits[method](payload, options) as Effect.Effect<ReadonlyArray<any>>,
          (found) => heard(ranks.map((rank, place) => [rank, found[place]]), true)
        )
      case "fork":
        return Effect.gen(function*() {
          const fibers: ReadonlyArray<Fiber.Fiber<any, any>> = yield* selected.fork[method](payload, options)
          const one = call.interruptOne === undefined ? -1 : call.interruptOne % fibers.length
          if (one >= 0) yield* Fiber.interrupt(fibers[one]!)
          const found = yield* Fiber.awaitAll(fibers)
          return heard(ranks.map((rank, place) => [rank, found[place]!] as const).filter((_, place) => place !== one), one < 0)
        }) as Effect.Effect<Heard>
      case "stream":
        return Effect.suspend(() => {
          const elements: Array<{ readonly rank: number; readonly value: any }> = []
          const reply: Stream.Stream<any, CallError<any>> = selected.stream[method](payload, options)
          const read = Stream.runForEach(
            reply,
            // One actor's stream has no places.
            (element) => Effect.sync(() => elements.push(target._tag === "one" ? { rank: ranks[0]!, value: element } : element))
          )
          return Effect.map(
            Effect.exit(read),
            (exit) => exit._tag === "Success" ? heard([], true, elements) : failed(exit, elements)
          )
        })
      case "broadcast":
        return told(selected.broadcast[method](payload), () => heard([], true))
    }
  }
  const { interruptAfter } = call
  if (interruptAfter === undefined) return make()
  return Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(make(), { startImmediately: true })
    if (interruptAfter > 0) yield* Effect.delay(Effect.void, interruptAfter)
    yield* Fiber.interrupt(fiber)
    const exit = yield* Fiber.await(fiber)
    return exit._tag === "Success" ? exit.value : heard([], false)
  })
}
