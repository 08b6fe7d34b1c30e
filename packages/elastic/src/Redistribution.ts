/**
 * Repairs a map after members were lost, with nothing but the slots that are left: every survivor computes the same, without a word to the others.
 */
import * as Effect from "effect/Effect"
import * as ExpertMap from "./ExpertMap.ts"
import { ExpertPlacementError } from "./ExpertPlacementError.ts"

/** A map without its lost members, and what has to be loaded before it can be used. */
export interface Repaired {
  /** As wide as before; the slots of lost members are empty. `ExpertMap.onto` leaves them out. */
  readonly map: ExpertMap.ExpertMap
  /** Experts that nobody had any more, and the slot each is to be loaded into; by layer, then by expert. */
  readonly reload: ReadonlyArray<{ readonly layer: number; readonly expert: number; readonly slot: number }>
}

/**
 * Gives each expert that was lost with its last copy the slot of an expert that still has another: on every survivor in turn, those with the most
 * copies first. An `ExpertPlacementError` names the layer and the expert for which there is none.
 */
export const redistribute = Effect.fnUntraced(function*(
  map: ExpertMap.ExpertMap,
  options: { readonly logical: number; readonly lost: ReadonlyArray<number> }
) {
  const { logical, lost } = options
  const stranger = lost.find((member) => !map.members.includes(member))
  if (stranger !== undefined) {
    return yield* new ExpertPlacementError({
      where: `member ${stranger}`,
      issue: `is none of the map's: ${map.members.join(", ")}`,
      advice: "Name members that the map has"
    })
  }
  const survivors = map.members.filter((member) => !lost.includes(member))
  const left = ExpertMap.onto(ExpertMap.onto(map, survivors), map.members)
  const reload: Array<Repaired["reload"][number]> = []
  const layers: Array<ReadonlyArray<number>> = []
  for (const [layer, before] of left.layers.entries()) {
    const slots = [...before]
    const counts = Array.from({ length: logical }, () => 0)
    for (const expert of slots) if (expert !== ExpertMap.empty) counts[expert]!++
    const donors = inTurn(left, slots, counts)[Symbol.iterator]()
    for (let expert = 0; expert < logical; expert++) {
      if (counts[expert]! > 0) continue
      // A donor may have given a copy away since they were listed.
      let slot = donors.next()
      while (!slot.done && counts[slots[slot.value]!]! < 2) slot = donors.next()
      if (slot.done) {
        return yield* new ExpertPlacementError({
          where: `layer ${layer}, expert ${expert}`,
          issue: "no member has it, and no other expert has a copy to spare",
          advice: "Give survivors more slots, or keep more copies"
        })
      }
      counts[slots[slot.value]!]!--
      slots[slot.value] = expert
      reload.push({ layer, expert, slot: slot.value })
    }
    layers.push(slots)
  }
  return { map: { members: map.members, layers }, reload } satisfies Repaired
})

/** Slots whose expert has another copy: the first of each member, then the second of each, and so on; a member's most copied experts first. */
const inTurn = (map: ExpertMap.ExpertMap, slots: ReadonlyArray<number>, counts: ReadonlyArray<number>): ReadonlyArray<number> => {
  const width = ExpertMap.slotsPerMember(map)
  const byMember = map.members.map((_, member) =>
    Array.from({ length: width }, (_, slot) => member * width + slot)
      .filter((slot) => slots[slot] !== ExpertMap.empty && counts[slots[slot]!]! > 1)
      .sort((a, b) => counts[slots[b]!]! - counts[slots[a]!]! || b - a)
  )
  return Array.from({ length: width }, (_, turn) => byMember.flatMap((own) => own.slice(turn, turn + 1))).flat()
}
