/**
 * Places experts anew on the ranks that there are, as evenly as what they have to do can be spread. Between steps experts go from rank to rank, a few at a time; then, between two steps, all ranks take
 * their new places. No request notices more than that.
 */
import * as Capacity from "@phalanx/elastic/Capacity"
import * as ExpertLoad from "@phalanx/elastic/ExpertLoad"
import * as ExpertMap from "@phalanx/elastic/ExpertMap"
import * as MovementPlan from "@phalanx/elastic/MovementPlan"
import * as Effect from "effect/Effect"
import * as MutableRef from "effect/MutableRef"
import * as Schema from "effect/Schema"
import { Generator } from "./Generator.ts"
import * as placing from "./internal/placing.ts"
import * as rounds from "./internal/rounds.ts"
import { size } from "./internal/size.ts"
import { Ranks } from "./Ranks.ts"

/** What experts have to do, and where there is room for them. */
export interface Options {
  /** Default: how often the ranks' requests have wanted each expert since the ranks started. */
  readonly load?: ExpertLoad.Load | undefined
  /** Slots for experts. Default: `Capacity.fit`. */
  readonly capacity?: Capacity.Capacity | undefined
  /** Copies of experts beyond one of each, where `capacity` heeds it. Default 0. */
  readonly redundant?: number | undefined
}

/** What came of it. */
export interface Rebalanced {
  /** The mean of what ranks have to do over the most that one has, by the load that was given: 1 is perfect. */
  readonly before: number
  readonly after: number
  /** Bytes of experts that went from rank to rank. */
  readonly bytes: number
}

/** The group has changed or begun to change meanwhile, by an operation or a loss, or another one goes on; experts lie as that puts them. */
export class RebalanceError extends Schema.TaggedError<RebalanceError>()("RebalanceError", {
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.issue}. ${this.advice}`
  }
}

const rebalance = Effect.fn("Rebalance.run")(
  function*({ capacity = Capacity.fit, load, redundant }: Options) {
    const ranks = yield* Ranks
    const { seating } = yield* Generator
    const epoch = Effect.map(ranks.membership, ({ epoch }) => epoch)
    const began = yield* epoch
    const self = Symbol()
    yield* Effect.acquireRelease(
      Effect.suspend(() =>
        seating.mover.current === undefined
          ? Effect.succeed(MutableRef.set(seating.mover, self))
          : new RebalanceError({ issue: "experts are being moved already", advice: "Ask again when they have their places" })
      ),
      () => Effect.sync(() => void MutableRef.compareAndSet(seating.mover, self, undefined))
    )
    const between = <A, E>(effect: Effect.Effect<A, E>) =>
      seating.between(
        Effect.flatMap(epoch, (now): Effect.Effect<A, E | RebalanceError> =>
          now === began && seating.mover.current === self
            ? effect
            : new RebalanceError({ issue: "the group has changed meanwhile", advice: "Ask again" }))
      )
    const wanted = load ?? ExpertLoad.sum(yield* ranks.call.load())
    const members = ranks.workers.map(({ id }) => id)
    const map = yield* placing.even({ slots: seating.slots(), before: members, after: members, load: wanted, capacity, redundant })
    const plan = yield* MovementPlan.make({ ...map, expertBytes: size.expertBytes })
    for (const { gifts } of rounds.of(plan, members)) yield* between(ranks.call.give(({ rank }) => gifts[rank]!))
    const slots = map.to.layers
    const place = Effect.andThen(ranks.call.place({ slots }), Effect.sync(() => seating.reseat(slots, new Map())))
    // Where it fails, those who have moved already go back.
    yield* between(Effect.onError(place, () => ranks.exits.place({ slots: seating.slots() })))
    return {
      before: ExpertMap.balancedness(map.from, wanted),
      after: ExpertMap.balancedness(map.to, wanted),
      bytes: MovementPlan.totalBytes(plan)
    } satisfies Rebalanced
  },
  Effect.scoped
)

/**
 * Rebalances once. It fails, and leaves experts where they are, if a rank dies meanwhile, or if experts are moved for another size or by another one: a change of size does not wait for it. Interrupting it leaves them
 * there, too, or has placed them.
 */
export const run = (options: Options = {}) => rebalance(options)
