/**
 * What one rank gives another when its group changes its size: a line of JSON that says what follows, and then the bytes of each item, one after another.
 */
import * as Schema from "effect/Schema"
import { Holding } from "../Moe.ts"

const Label = Schema.Union([
  /** An expert's weights. */
  Schema.TaggedStruct("Expert", { layer: Schema.Int, expert: Schema.Int, bytes: Schema.Int }),
  /** Keys and values of a request's positions from `from` on. */
  Schema.TaggedStruct("Positions", { id: Schema.Int, from: Schema.Int, bytes: Schema.Int }),
  /** A request itself. */
  Schema.TaggedStruct("Request", { holding: Holding, bytes: Schema.Literal(0) })
])

/** One item: its label and its bytes. */
export interface Item {
  readonly label: typeof Label.Type
  readonly bytes: Uint8Array
}

export const request = (holding: Holding): Item => ({ label: { _tag: "Request", holding, bytes: 0 }, bytes: new Uint8Array(0) })

const Labels = Schema.fromJsonString(Schema.toCodecJson(Schema.Array(Label)))
const encodeLabels = Schema.encodeSync(Labels)
const decodeLabels = Schema.decodeSync(Labels)

export const pack = (items: ReadonlyArray<Item>): Uint8Array => {
  if (items.length === 0) return new Uint8Array(0)
  const labels = new TextEncoder().encode(encodeLabels(items.map(({ label }) => label)))
  const size = items.reduce((sum, { bytes }) => sum + bytes.length, 4 + labels.length)
  const parcel = new Uint8Array(size)
  new DataView(parcel.buffer).setUint32(0, labels.length, true)
  parcel.set(labels, 4)
  let at = 4 + labels.length
  for (const { bytes } of items) {
    parcel.set(bytes, at)
    at += bytes.length
  }
  return parcel
}

/** Throws if the lengths contradict each other, which a healthy peer never sends. */
export const unpack = (parcel: Uint8Array): ReadonlyArray<Item> => {
  if (parcel.length === 0) return []
  const length = new DataView(parcel.buffer, parcel.byteOffset, parcel.length).getUint32(0, true)
  const labels = decodeLabels(new TextDecoder("utf-8", { fatal: true }).decode(parcel.subarray(4, 4 + length)))
  let at = 4 + length
  const items = labels.map((label) => ({ label, bytes: parcel.subarray(at, at += label.bytes) }))
  if (at !== parcel.length) throw new RangeError(`a parcel of ${parcel.length} bytes says that it has ${at}`)
  return items
}
