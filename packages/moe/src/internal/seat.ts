/**
 * What a rank is in one epoch of its group, and where each expert is found.
 */
import * as Mesh from "@phalanx/core/Mesh"
import type * as exchange from "./exchange.ts"

export interface Seat {
  readonly epoch: number
  readonly dp: number
  readonly tp: number
  readonly ranks: number
  readonly slots: Slots
  /** By layer. */
  readonly layouts: ReadonlyArray<exchange.Layout>
  /** The experts that it is to hold, by layer. */
  readonly resident: ReadonlyArray<ReadonlySet<number>>
}

/** Layer by layer the expert in each slot, the slots of a rank together; `empty` where there is none. */
export type Slots = ReadonlyArray<ReadonlyArray<number>>

export const same = (a: Slots, b: Slots): boolean => a.length === b.length && a.every((layer, i) => layer.join() === b[i]!.join())

/** Experts of one rank of `ranks`, in one layer. */
export const held = (layer: ReadonlyArray<number>, rank: number, ranks: number): ReadonlySet<number> => {
  const width = layer.length / ranks
  return new Set(layer.slice(rank * width, (rank + 1) * width).filter((expert) => expert >= 0))
}

export const make = (options: {
  readonly epoch: number
  readonly rank: number
  readonly mesh: Mesh.Mesh<"dp" | "tp">
  readonly slots: Slots
  readonly width: number
}): Seat => {
  const { epoch, mesh, rank, slots, width } = options
  const { dp, tp } = Mesh.place(mesh, rank).coordinates
  const size = mesh.shape.tp
  const ranks = mesh.ranks.length
  return {
    epoch,
    dp,
    tp,
    ranks,
    slots,
    layouts: slots.map((layer) => {
      const homes = new Map<number, Array<number>>()
      layer.forEach((expert, slot) => {
        const rank = Math.floor(slot / (layer.length / ranks))
        if (!homes.get(expert)?.includes(rank)) homes.set(expert, [...homes.get(expert) ?? [], rank])
      })
      // Of several copies each owner asks one, its `tp` ranks the same; others ask the others.
      const owners = new Map([...homes].map(([expert, home]) => [expert, home[dp % home.length]!]))
      return { ranks, tp: size, index: rank, width, owner: (expert) => owners.get(expert)! }
    }),
    resident: slots.map((layer) => held(layer, rank, ranks))
  }
}
