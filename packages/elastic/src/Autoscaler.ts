/**
 * Chooses a group's size by what it has to do: grows it when it has had too much for a while, shrinks it when it would have had room enough in fewer ranks for a longer
 * while, and lets it be otherwise.
 *
 * The choice is a state machine without a clock (`start`, `step`); the layer feeds it and asks `Elastic` for what it chooses.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Elastic from "./Elastic.ts"
import type { JournalError, ScaleConflict, ScaleFailed } from "./ElasticError.ts"
import type { Scaled } from "./Operation.ts"
import { Resizable } from "./Resizable.ts"

/** What a group has to do at one moment. */
export interface Load {
  /** Requests that wait for a place. */
  readonly queued: number
  /** Tokens, of prompts and written, of the requests that run. */
  readonly tokensInFlight: number
  /** A recent latency of whatever `Policy.latencyMillis` is the target of; `undefined` if nothing was measured. */
  readonly latencyMillis?: number | undefined
}

/** When to grow and when to shrink. A signal that has no target is not looked at. Sizes count along one dimension of the mesh. */
export interface Policy {
  readonly min: number
  readonly max: number
  /** Requests that may wait for each rank's worth of size. */
  readonly queued?: number | undefined
  /** Tokens that may be in flight for each. */
  readonly tokensInFlight?: number | undefined
  /** A latency above it asks for one more. */
  readonly latencyMillis?: number | undefined
  /** How much below its targets a load has to be at the smaller size before the group shrinks to it, as a share of them. Default 0.3. */
  readonly hysteresis?: number | undefined
  /** How long there has to be too much to do. Default 5 seconds. */
  readonly growAfter?: Duration.Input | undefined
  /** How long there has to be too little. Default 1 minute. */
  readonly shrinkAfter?: Duration.Input | undefined
  /** How long nothing is changed after a change has ended, or has failed. Default 30 seconds. */
  readonly coolDown?: Duration.Input | undefined
}

/** Looks at the load in the last stretch of time, and remembers when the last change ended. */
export interface State {
  readonly wishes: ReadonlyArray<{ readonly at: number; readonly size: number }>
  readonly quietUntil: number
}

/** Nothing seen yet. */
export const start: State = { wishes: [], quietUntil: Number.NEGATIVE_INFINITY }

/** The size that a load asks for at this moment, within the limits. */
export const wish = (policy: Policy, load: Load, size: number): number => {
  const { hysteresis = 0.3, latencyMillis, max, min, queued, tokensInFlight } = policy
  const signals = [[load.queued, queued], [load.tokensInFlight, tokensInFlight]] as const
  const needed = (margin: number): number =>
    Math.max(...signals.map(([value, each]) => each === undefined ? 0 : Math.ceil(value / (each * (1 - margin)))))
  const slow = latencyMillis === undefined || load.latencyMillis === undefined ? 0 : load.latencyMillis / latencyMillis
  // Latency does not say how many ranks would do, only that these do not, or that fewer would not.
  const [grown, kept] = [slow > 1 ? size + 1 : 0, slow > 1 - hysteresis ? size : 0]
  const more = Math.max(needed(0), grown)
  const fewer = Math.max(needed(hysteresis), kept)
  const wanted = more > size ? more : Math.min(fewer, size)
  return Math.min(max, Math.max(min, wanted))
}

/** Takes in a load at a time, in milliseconds; the size to go to, if the group should have another. */
export const step = (
  policy: Policy,
  state: State,
  now: number,
  load: Load,
  size: number
): { readonly state: State; readonly target: number | undefined } => {
  const [growAfter, shrinkAfter] = [policy.growAfter ?? "5 seconds", policy.shrinkAfter ?? "1 minute"].map((input) =>
    Duration.toMillis(Duration.fromInputUnsafe(input))
  ) as [number, number]
  const wishes = [...state.wishes, { at: now, size: wish(policy, load, size) }]
  /** The wishes of the last so many milliseconds, if there were any for so long. */
  const within = (millis: number): ReadonlyArray<number> => {
    const first = wishes.findLastIndex(({ at }) => at <= now - millis)
    return first === -1 ? [] : wishes.slice(first).map(({ size }) => size)
  }
  // Of what lies further back than anybody looks, the last wish still says how it was since.
  const oldest = wishes.findLastIndex(({ at }) => at <= now - Math.max(growAfter, shrinkAfter))
  const kept = { ...state, wishes: wishes.slice(Math.max(0, oldest)) }
  if (now < state.quietUntil) return { state: kept, target: undefined }
  const [recent, long] = [within(growAfter), within(shrinkAfter)]
  if (recent.length > 0 && recent.every((wanted) => wanted > size)) return { state: kept, target: Math.min(...recent) }
  if (long.length > 0 && long.every((wanted) => wanted < size)) return { state: kept, target: Math.max(...long) }
  return { state: kept, target: undefined }
}

/** Forgets what was wished for at another size, and lets the group be for a while. */
export const settled = (policy: Policy, now: number): State => ({
  wishes: [],
  quietUntil: now + Duration.toMillis(Duration.fromInputUnsafe(policy.coolDown ?? "30 seconds"))
})

/** One change that was asked for, when it had ended. */
export interface Decision {
  readonly operation: string
  readonly from: number
  readonly to: number
  readonly exit: Exit.Exit<Scaled, ScaleFailed | ScaleConflict | JournalError>
}

/** An autoscaler that runs. */
export class Autoscaler extends Context.Service<Autoscaler, {
  /** Changes that end from now on. */
  readonly decisions: Stream.Stream<Decision>
}>()("@phalanx/elastic/Autoscaler") {}

/** By what the group is scaled, and along which dimension. */
export interface Options<E, R> {
  readonly along: string
  readonly policy: Policy
  /** Looked at `every` so often, and never while the group changes. A look that fails is logged and left out. */
  readonly load: Effect.Effect<Load, E, R>
  /** Default 1 second. */
  readonly every?: Duration.Input | undefined
  /** How long a change may take to get to its point of no return. Default 10 minutes. */
  readonly deadline?: Duration.Input | undefined
}

/**
 * Watches a group's load and changes its size, until the layer ends. What another has asked for meanwhile is let be: the conflict counts as a change that has failed.
 * Throws a `RangeError` for limits or shares that cannot be; the layer dies of one where the group has no such dimension.
 */
export const layer = <E, R>(options: Options<E, R>): Layer.Layer<Autoscaler, never, Elastic.Elastic | Resizable | R> => {
  check(options.policy)
  return Layer.effect(Autoscaler, watch(options))
}

const check = ({ hysteresis = 0.3, latencyMillis, max, min, queued, tokensInFlight }: Policy): void => {
  if (!Number.isInteger(min) || min < 1) throw new RangeError(`min must be a positive integer, not ${min}`)
  if (!Number.isInteger(max) || max < min) throw new RangeError(`max must be an integer from ${min} up, not ${max}`)
  if (!(hysteresis >= 0 && hysteresis < 1)) throw new RangeError(`hysteresis must be a share from 0 to below 1, not ${hysteresis}`)
  const targets = { queued, tokensInFlight, latencyMillis }
  for (const [name, target] of Object.entries(targets)) {
    if (target !== undefined && !(target > 0)) throw new RangeError(`${name} must be above 0, not ${target}`)
  }
  if (Object.values(targets).every((target) => target === undefined)) {
    throw new RangeError("a policy needs a target: queued, tokensInFlight or latencyMillis")
  }
}

const watch = Effect.fnUntraced(
  function*<E, R>({ along, deadline = "10 minutes", every = "1 second", load, policy }: Options<E, R>) {
    const elastic = yield* Elastic.Elastic
    const group = yield* Resizable
    const dimensions = Object.keys((yield* group.serving).shape)
    if (!dimensions.includes(along)) {
      return yield* Effect.die(new RangeError(`along must be a dimension of ${group.group}, one of ${dimensions.join(", ")}, not ${along}`))
    }
    const decisions = yield* PubSub.unbounded<Decision>()
    const clock = yield* Clock.Clock
    // The time of day may be corrected, also backwards.
    const elapsed = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    let state = start
    const look = Effect.gen(function*() {
      const { epoch, shape } = yield* group.serving
      const from = shape[along]!
      const next = step(policy, state, elapsed(), yield* load, from)
      state = next.state
      if (next.target === undefined) return
      const operation = `autoscale ${group.group} to epoch ${epoch + 1} at ${yield* Clock.currentTimeMillis}`
      const exit = yield* Effect.exit(elastic.scale(group, { to: { ...shape, [along]: next.target }, operation, deadline }))
      state = settled(policy, elapsed())
      yield* PubSub.publish(decisions, { operation, from, to: next.target, exit })
    })
    yield* Effect.ignoreCause(look, { log: "Warn", message: `the load of ${group.group} could not be looked at` }).pipe(
      Effect.repeat(Schedule.spaced(every)),
      Effect.forkScoped
    )
    return Autoscaler.of({ decisions: Stream.fromPubSub(decisions) })
  }
)
