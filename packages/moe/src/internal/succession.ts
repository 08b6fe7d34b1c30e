/**
 * Puts together from what the ranks hold what a driver that is gone has left.
 *
 * A step only says who advances: each owner's requests stand for themselves. So ranks that have done the last step and ranks that were cut short in it need not agree, except those that share an owner.
 */
import * as Effect from "effect/Effect"
import type { Holding, Inventory, Opening, Slots } from "../Moe.ts"
import type { Ranks } from "../Ranks.ts"
import * as Scheduler from "../Scheduler.ts"
import * as loss from "./loss.ts"

/** A request that goes on where its owner has come to. */
export interface Running {
  readonly opening: Opening
  readonly dp: number
  readonly bytes: ReadonlyArray<number>
  readonly computed: number
}

export interface Estate {
  /** Where experts lie; `undefined` if the ranks do not agree: one was started anew. */
  readonly slots: Slots | undefined
  readonly running: ReadonlyArray<Running>
  /** In the order in which they were asked for. */
  readonly waiting: ReadonlyArray<Opening>
  readonly ended: ReadonlyArray<Holding>
  /** Above every id that is known. */
  readonly nextId: number
}

const states = ["waiting", "running", "ended"] as const

/** Everything that a request has written, the 0 at its end included. */
export const written = (opening: Opening, bytes: Iterable<number>): ReadonlyArray<number> => [
  ...opening.tokens.subarray(opening.tokens.length - (opening.written ?? 0)),
  ...bytes
]

/** How far a holding is: by its state, then by what is written. */
const further = (a: Holding, b: Holding): number =>
  states.indexOf(a.state) - states.indexOf(b.state) || written(a.opening, a.bytes).length - written(b.opening, b.bytes).length

/** What the ranks of a mesh hold, `tp` of them for each owner. A request without a name had nobody but its driver to wait for it, and is left out. */
export const gather = (inventories: ReadonlyArray<Inventory>, tp: number): Estate => {
  const known = new Map<number, Array<{ readonly holding: Holding; readonly dp: number }>>()
  let nextId = 0
  inventories.forEach(({ holdings }, rank) => {
    for (const holding of holdings) {
      const { id, name } = holding.opening
      nextId = Math.max(nextId, id + 1)
      if (name !== undefined) known.set(id, [...known.get(id) ?? [], { holding, dp: Math.floor(rank / tp) }])
    }
  })
  const running: Array<Running> = []
  const waiting: Array<Opening> = []
  const ended: Array<Holding> = []
  for (const [, held] of [...known].sort(([a], [b]) => a - b)) {
    const { dp, holding } = held.reduce((best, other) => further(best.holding, other.holding) < 0 ? other : best)
    if (holding.state === "ended") ended.push(holding)
    else if (holding.state === "waiting") waiting.push(holding.opening)
    else {
      // One of the ranks of an owner may have been cut short in the last step: all go on from there.
      const shares = held.filter((other) => other.dp === dp && other.holding.state === "running").map(({ holding }) => holding)
      const { bytes, computed, opening } = shares.reduce((least, share) => share.computed < least.computed ? share : least)
      running.push({ opening, dp, bytes: [...bytes], computed })
    }
  }
  const slots = inventories[0]!.slots
  const agree = inventories.every((other) => JSON.stringify(other.slots) === JSON.stringify(slots))
  return { slots: agree ? slots : undefined, running, waiting, ended, nextId }
}

/** Has the ranks go on from what they hold. What one that was started anew has lost of its requests waits to be opened again. */
export const take = (ranks: Ranks["Service"], initial: () => Slots): Effect.Effect<Estate & { readonly slots: Slots }, loss.StepError> =>
  Effect.gen(function*() {
    const { dp, tp } = ranks.mesh.shape
    const estate = gather(yield* ranks.call.inventory(), tp)
    const slots = estate.slots ?? initial()
    const parts = Array.from(
      { length: dp },
      (_, owner) =>
        estate.running.filter(({ dp }) => dp === owner).map(({ bytes, computed, opening: { id } }) => ({
          id,
          received: bytes.length,
          computed
        }))
    )
    const missing = new Set((yield* ranks.call.recover({ parts, slots })).flat())
    const lost = estate.running.filter(({ opening }) => missing.has(opening.id))
    return {
      ...estate,
      slots,
      running: estate.running.filter(({ opening }) => !missing.has(opening.id)),
      waiting: [...lost.map(({ bytes, computed, opening }) => Scheduler.reopened(opening, bytes, computed)), ...estate.waiting]
    }
  }).pipe(Effect.retry({ while: loss.isLoss, times: loss.most }))
