import { headSize } from "../Model.ts"
import * as Arena from "./arena.ts"

/** Positions in a block. */
const blockSize = 64

const headBytes = headSize * 4
// Keys of one head in a block, then its values.
const pairBytes = 2 * blockSize * headBytes

/**
 * Keys and values of every request, in blocks of 64 positions that are taken when they are first needed. A block holds
 * [layer][head][keys or values][position][coordinate].
 */
export interface KvCache {
  /** Takes the blocks for so many positions of a slot. False, and nothing is changed, if there are too few. */
  readonly reserve: (slot: number, positions: number) => boolean
  /** Gives a slot's blocks back. */
  readonly release: (slot: number) => void
  /** The slot's first position that holds nothing; 0 for an unknown slot. */
  readonly length: (slot: number) => number
  /** Says that `position` is about to be written; what lies behind it is forgotten. Throws if that would leave a gap or no block is free. */
  readonly append: (slot: number, position: number) => void
  /** The offset of a position of a layer: where its first head's keys go. */
  readonly place: (layer: number, slot: number, position: number) => number
  /** Writes the slot's blocks to the table that `attend` reads, and returns its offset. */
  readonly table: (slot: number) => number
  /** The place of a layer in each block. */
  readonly offset: (layer: number) => number
  readonly read: (slot: number, from: number, to: number) => Uint8Array<ArrayBuffer>
  readonly write: (slot: number, from: number, bytes: Uint8Array) => void
  /** Bytes of one position. */
  readonly positionBytes: number
  readonly slots: () => ReadonlyArray<number>
  readonly used: () => number
  /** Bytes that it has taken so far, which it keeps. */
  readonly bytes: () => number
}

export const make = (
  arena: Arena.Arena,
  shape: { readonly layers: number; readonly heads: number; readonly context: number; readonly blocks: number }
): KvCache => {
  const layerBytes = shape.heads * pairBytes
  const pool = Arena.pool(arena, shape.layers * layerBytes)
  const slots = new Map<number, { readonly blocks: Array<number>; length: number }>()
  const tableAt = arena.allocate((shape.context / blockSize) * 4)
  const positionBytes = shape.layers * shape.heads * 2 * headBytes

  const reserve: KvCache["reserve"] = (slot, positions) => {
    if (positions > shape.context) return false
    const known = slots.get(slot)
    const missing = Math.ceil(positions / blockSize) - (known?.blocks.length ?? 0)
    if (missing > shape.blocks - pool.used()) return false
    const entry = known ?? { blocks: [], length: 0 }
    slots.set(slot, entry)
    for (let i = 0; i < missing; i++) entry.blocks.push(pool.take())
    return true
  }

  const place: KvCache["place"] = (layer, slot, position) =>
    slots.get(slot)!.blocks[Math.floor(position / blockSize)]! + layer * layerBytes + (position % blockSize) * headBytes

  // Each piece of a position: 32 floats of one layer, one head, keys or values.
  const pieces = (slot: number, from: number, to: number, visit: (at: number, index: number) => void): void => {
    let index = 0
    for (let position = from; position < to; position++) {
      for (let layer = 0; layer < shape.layers; layer++) {
        const at = place(layer, slot, position)
        for (let half = 0; half < 2 * shape.heads; half++) visit(at + half * (pairBytes / 2), headBytes * index++)
      }
    }
  }

  const length: KvCache["length"] = (slot) => slots.get(slot)?.length ?? 0

  return {
    reserve,
    release: (slot) => {
      slots.get(slot)?.blocks.forEach(pool.give)
      slots.delete(slot)
    },
    length,
    append: (slot, position) => {
      if (position > length(slot)) {
        throw new RangeError(`position ${position} of slot ${slot}, which holds ${length(slot)}: the cache is append-only`)
      }
      if (!reserve(slot, position + 1)) {
        throw new RangeError(`no room for position ${position} of slot ${slot}: reserve it first, and admit only what fits`)
      }
      slots.get(slot)!.length = position + 1
    },
    place,
    table: (slot) => {
      const { blocks } = slots.get(slot)!
      const words = arena.words()
      for (let i = 0; i < blocks.length; i++) words[tableAt / 4 + i] = blocks[i]!
      return tableAt
    },
    offset: (layer) => layer * layerBytes,
    read: (slot, from, to) => {
      if (from < 0 || from > to || to > length(slot)) {
        throw new RangeError(`positions ${from} to ${to} of slot ${slot}, which holds ${length(slot)}`)
      }
      const out = new Uint8Array((to - from) * positionBytes)
      const bytes = arena.bytes()
      pieces(slot, from, to, (at, index) => out.set(bytes.subarray(at, at + headBytes), index))
      return out
    },
    write: (slot, from, data) => {
      const to = from + data.length / positionBytes
      if (!Number.isInteger(to) || from > length(slot) || !reserve(slot, to)) {
        throw new RangeError(`${data.length} bytes at position ${from} of slot ${slot}, which holds ${length(slot)}: they do not fit`)
      }
      const bytes = arena.bytes()
      pieces(slot, from, to, (at, index) => bytes.set(data.subarray(index, index + headBytes), at))
      slots.get(slot)!.length = to
    },
    positionBytes,
    slots: () => [...slots.keys()],
    used: pool.used,
    bytes: () => pool.size() * shape.layers * layerBytes
  }
}
