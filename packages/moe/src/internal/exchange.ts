/**
 * What travels between ranks in one layer of experts. The owner of a row sends its vector to the ranks that hold its four experts, once however many of
 * them a rank holds, and they send back one vector for each: the owner adds them in router order, so that the sum does not depend on where experts live.
 *
 * The `tp` ranks of an owner share the sending (rank t sends rows t, t + tp, …) and all get all results, whose order each can tell from its own routing.
 */

import { topK } from "../Model.ts"

/** The experts of each row, four a row, best first; equal on all `tp` ranks of an owner. */
export interface Routing {
  readonly rows: number
  readonly experts: ArrayLike<number>
}

/** Who is who: `owner` tells the rank that holds an expert; `tp` ranks of one owner lie side by side. */
export interface Layout {
  readonly ranks: number
  readonly tp: number
  readonly index: number
  readonly width: number
  readonly owner: (expert: number) => number
}

/** What one rank asks of another: `slots[i]` says which of `vectors` expert `experts[i]` is to process. */
export interface Asked {
  readonly slots: Int32Array
  readonly experts: Int32Array
  readonly vectors: Float32Array
}

/** Calls `visit` for each pair of row and expert that dispatcher `t` sends, in the order of the message. */
const pairs = (
  routing: Routing,
  layout: Layout,
  t: number,
  visit: (row: number, choice: number, rank: number, expert: number) => void
): void => {
  for (let row = t; row < routing.rows; row += layout.tp) {
    for (let choice = 0; choice < topK; choice++) {
      const expert = routing.experts[row * topK + choice]!
      visit(row, choice, layout.owner(expert), expert)
    }
  }
}

/** The message to each rank: counts of vectors and pairs, the pairs, the vectors. `normed` holds `width` numbers a row. */
export const dispatch = (routing: Routing, layout: Layout, normed: Float32Array): ReadonlyArray<Uint8Array> => {
  const rowsOf = Array.from({ length: layout.ranks }, () => [] as Array<number>)
  const pairsOf = Array.from({ length: layout.ranks }, () => [] as Array<number>)
  pairs(routing, layout, layout.index % layout.tp, (row, _, rank, expert) => {
    const rows = rowsOf[rank]!
    if (rows.at(-1) !== row) rows.push(row)
    pairsOf[rank]!.push(rows.length - 1, expert)
  })
  return rowsOf.map((rows, rank) => {
    const heads = pairsOf[rank]!
    if (heads.length === 0) return new Uint8Array(0)
    const words = 2 + heads.length
    const message = new ArrayBuffer(4 * (words + rows.length * layout.width))
    const head = new Int32Array(message, 0, words)
    head[0] = rows.length
    head[1] = heads.length / 2
    head.set(heads, 2)
    const vectors = new Float32Array(message, 4 * words)
    rows.forEach((row, slot) => vectors.set(normed.subarray(row * layout.width, (row + 1) * layout.width), slot * layout.width))
    return new Uint8Array(message)
  })
}

/** Reads a message of `dispatch`. Throws a `RangeError` if its lengths contradict each other, which a healthy peer never sends. */
export const asked = (message: Uint8Array, width: number): Asked => {
  if (message.length === 0) return { slots: new Int32Array(0), experts: new Int32Array(0), vectors: new Float32Array(0) }
  const bytes = aligned(message)
  const sizes = new Int32Array(bytes.buffer, bytes.byteOffset, 2)
  const [vectors, count] = [sizes[0]!, sizes[1]!]
  if (bytes.length !== 4 * (2 + 2 * count + vectors * width)) {
    throw new RangeError(`a message of ${bytes.length} bytes cannot hold ${vectors} vectors and ${count} pairs`)
  }
  const heads = new Int32Array(bytes.buffer, bytes.byteOffset + 8, 2 * count)
  const [slots, experts] = [new Int32Array(count), new Int32Array(count)]
  for (let i = 0; i < count; i++) {
    slots[i] = heads[2 * i]!
    experts[i] = heads[2 * i + 1]!
  }
  return {
    slots,
    experts,
    vectors: new Float32Array(bytes.buffer, bytes.byteOffset + 4 * (2 + 2 * count), vectors * width)
  }
}

/** The answer to each rank: the results of all that the `tp` ranks of its owner asked, in their order. `results` by asking rank. */
export const answers = (results: ReadonlyArray<Float32Array>, layout: Layout): ReadonlyArray<Uint8Array> => {
  const byOwner: Array<Uint8Array> = []
  for (let first = 0; first < layout.ranks; first += layout.tp) byOwner.push(joined(results.slice(first, first + layout.tp)))
  return results.map((_, rank) => byOwner[Math.floor(rank / layout.tp)]!)
}

const joined = (parts: ReadonlyArray<Float32Array>): Uint8Array => {
  if (parts.length === 1) return new Uint8Array(parts[0]!.buffer, parts[0]!.byteOffset, parts[0]!.byteLength)
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return new Uint8Array(all.buffer)
}

/** Hands each answered vector to `place`, with the row and the place of the router that it belongs to. */
export const collect = (
  routing: Routing,
  layout: Layout,
  received: ReadonlyArray<Uint8Array>,
  place: (row: number, choice: number, vector: Uint8Array) => void
): void => {
  const size = 4 * layout.width
  const next = Array.from({ length: layout.ranks }, () => 0)
  for (let t = 0; t < layout.tp; t++) {
    pairs(routing, layout, t, (row, choice, rank) => {
      const at = next[rank]!
      const part = received[rank]!
      if (at + size > part.length) throw new RangeError(`rank ${rank} answered ${part.length / size} vectors, fewer than it was asked for`)
      place(row, choice, part.subarray(at, at + size))
      next[rank] = at + size
    })
  }
}

/** Bytes from a peer may start anywhere in their buffer; numbers may not. */
const aligned = (bytes: Uint8Array): Uint8Array => bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
