/**
 * Says which expert lies in which slot. A logical expert is one of the model's, a physical expert is one copy of it in a slot of a member.
 *
 * Members are named by their ids, which they keep when their group is resized: maps of different sizes compare without renumbering ranks.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Load } from "./ExpertLoad.ts"
import { ExpertPlacementError } from "./ExpertPlacementError.ts"

/**
 * The logical expert in each slot, layer by layer, or `empty`. All members have equally many slots: those of `members[i]` are the i-th part of
 * a layer.
 */
export const ExpertMap = Schema.Struct({
  members: Schema.Array(Schema.Int),
  layers: Schema.Array(Schema.Array(Schema.Int))
})
export type ExpertMap = typeof ExpertMap.Type

/** What stands in a slot that holds no expert. */
export const empty = -1

/** Where each logical expert can be found, layer by layer. */
export interface Replicas {
  /** How many slots hold it. */
  readonly counts: ReadonlyArray<ReadonlyArray<number>>
  /** Which ones, in order, filled up with `empty` to the most that any expert has. */
  readonly slots: ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>
}

/** Checks that all layers are equally wide, that each member has equally many slots, and that no member stands twice. */
export const make = Effect.fnUntraced(function*(members: ReadonlyArray<number>, layers: ReadonlyArray<ReadonlyArray<number>>) {
  const width = layers[0]?.length ?? 0
  const fail = (where: string, issue: string, advice: string) => new ExpertPlacementError({ where, issue, advice })
  if (new Set(members).size !== members.length) return yield* fail("members", `${members} names one twice`, "Name each member once")
  const ragged = layers.findIndex((layer) => layer.length !== width)
  if (ragged !== -1) {
    return yield* fail(`layer ${ragged}`, `${layers[ragged]!.length} slots where layer 0 has ${width}`, "Give every layer as many slots")
  }
  if (members.length === 0 || width === 0 || width % members.length !== 0) {
    return yield* fail("layer 0", `${width} slots for ${members.length} members`, "Give every member as many slots, one or more")
  }
  return { members, layers } satisfies ExpertMap
})

/** Slots of each member. */
export const slotsPerMember = (self: ExpertMap): number => (self.layers[0]?.length ?? 0) / self.members.length

/** What the slots of a member hold in one layer, in order; nothing for who is no member. */
export const held = (self: ExpertMap, layer: number, member: number): ReadonlyArray<number> => {
  const index = self.members.indexOf(member)
  const width = slotsPerMember(self)
  return index === -1 ? [] : self.layers[layer]!.slice(index * width, (index + 1) * width)
}

/** The map before any load is known: experts in order, and copies from expert 0 on in the slots that remain. */
export const initial = (options: {
  readonly members: ReadonlyArray<number>
  readonly layers: number
  readonly logical: number
  readonly physical: number
}): ExpertMap => ({
  members: options.members,
  layers: Array.from(
    { length: options.layers },
    () => Array.from({ length: options.physical }, (_, slot) => slot % options.logical)
  )
})

/** The other direction of a map. */
export const replicas = (self: ExpertMap, logical: number): Replicas => {
  const found = self.layers.map((layer) => {
    const slots = Array.from({ length: logical }, () => [] as Array<number>)
    layer.forEach((expert, slot) => {
      if (expert !== empty) slots[expert]!.push(slot)
    })
    return slots
  })
  const most = Math.max(0, ...found.flatMap((slots) => slots.map(({ length }) => length)))
  return {
    counts: found.map((slots) => slots.map(({ length }) => length)),
    slots: found.map((slots) => slots.map((own) => [...own, ...Array.from({ length: most - own.length }, () => empty)]))
  }
}

/** The same slots under another list of members: who is new has empty slots, who is not listed any more is left out. */
export const onto = (self: ExpertMap, members: ReadonlyArray<number>): ExpertMap => {
  const none = Array.from({ length: slotsPerMember(self) }, () => empty)
  return {
    members,
    layers: self.layers.map((_, layer) => members.flatMap((member) => self.members.includes(member) ? held(self, layer, member) : none))
  }
}

/**
 * How evenly a load is spread over the members: their mean over their maximum, both summed over layers, an expert's load shared evenly by its
 * copies. 1 is perfect, and 0 stands for no load at all.
 */
export const balancedness = (self: ExpertMap, load: Load): number => {
  let mean = 0
  let max = 0
  const width = slotsPerMember(self)
  self.layers.forEach((layer, index) => {
    const counts = new Map<number, number>()
    for (const expert of layer) counts.set(expert, (counts.get(expert) ?? 0) + 1)
    const loads = self.members.map(() => 0)
    layer.forEach((expert, slot) => {
      if (expert !== empty) loads[Math.floor(slot / width)]! += load[index]![expert]! / counts.get(expert)!
    })
    mean += loads.reduce((sum, value) => sum + value, 0) / loads.length
    max += Math.max(...loads)
  })
  return max === 0 ? 0 : mean / max
}
