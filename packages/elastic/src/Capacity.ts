/**
 * Says how many slots a group has at another size. A policy is a plain function: `fit`, the default, or `fixedSlots`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** A change of size: experts of the model, copies beyond them that are wanted, slots that there are, and ranks before and after. */
export interface Request {
  readonly logical: number
  /** Wanted at any size; slots that are there to make members even do not count. Default 0. */
  readonly redundant?: number | undefined
  readonly physical: number
  readonly from: number
  readonly to: number
}

/** So many ranks cannot hold all experts in the slots that they have. */
export class CapacityError extends Schema.TaggedError<CapacityError>()("CapacityError", {
  logical: Schema.Int,
  slots: Schema.Int,
  ranks: Schema.Int,
  /** The fewest ranks that can. */
  minimum: Schema.Int
}) {
  override get message(): string {
    return `${this.ranks} ranks have ${this.slots} slots for ${this.logical} experts. Keep ${this.minimum} ranks or more`
  }
}

/** Slots of all ranks together after the change. */
export type Capacity = (request: Request) => Effect.Effect<number, CapacityError>

/** The least number of slots that gives every rank as many, and room for all experts and the redundant copies. Any size will do. */
export const fit: Capacity = ({ logical, redundant = 0, to }) => Effect.succeed(Math.ceil((logical + redundant) / to) * to)

/**
 * Every rank keeps its number of slots, so that redundancy grows and shrinks with the group; a `CapacityError` where too few ranks would be
 * left to hold every expert.
 */
export const fixedSlots: Capacity = Effect.fnUntraced(function*({ from, logical, physical, to }) {
  const slots = (physical / from) * to
  if (slots >= logical) return slots
  return yield* new CapacityError({ logical, slots, ranks: to, minimum: Math.ceil((logical * from) / physical) })
})
