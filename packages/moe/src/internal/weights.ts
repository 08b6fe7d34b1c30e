import * as Effect from "effect/Effect"
import { type Model, vocabulary } from "../Model.ts"
import type { WeightsError } from "../WeightsError.ts"
import type { Arena } from "./arena.ts"

/** An int8 matrix and its scales, as offsets into memory. */
export interface Matrix {
  readonly weight: number
  readonly scale: number
}

export interface Layer {
  readonly attentionNorm: number
  readonly moeNorm: number
  readonly router: number
  readonly q: Matrix
  readonly k: Matrix
  readonly v: Matrix
  /** The output projection, cut by columns into quarters of the model's width; this rank's quarters, in order. */
  readonly o: ReadonlyArray<Matrix>
}

/** All weights but the experts'. Of attention, only the heads of one tp rank. */
export interface Dense {
  readonly embed: number
  readonly norm: number
  readonly head: Matrix
  readonly layers: ReadonlyArray<Layer>
}

/** Columns `from` to `to` of a matrix of one-byte elements. */
const columns = (matrix: Uint8Array, width: number, from: number, to: number): Uint8Array => {
  const out = new Uint8Array((matrix.length / width) * (to - from))
  for (let r = 0; r * width < matrix.length; r++) out.set(matrix.subarray(r * width + from, r * width + to), r * (to - from))
  return out
}

export const loadDense = Effect.fnUntraced(function*(
  model: Model,
  arena: Arena,
  tp: { readonly index: number; readonly size: number }
): Effect.fn.Return<Dense, WeightsError> {
  const width = model.config.d_model
  const put = (bytes: Uint8Array) => {
    const at = arena.allocate(bytes.length)
    arena.bytes().set(bytes, at)
    return at
  }
  const tensor = (name: string, rows?: { readonly from: number; readonly to: number }) => Effect.map(model.tensor(name, rows), put)
  const matrix = Effect.fnUntraced(function*(name: string, rows: { readonly from: number; readonly to: number }) {
    return { weight: yield* tensor(`${name}.weight`, rows), scale: yield* tensor(`${name}.scale`, rows) }
  })
  const own = { from: (tp.index * width) / tp.size, to: ((tp.index + 1) * width) / tp.size }

  const layer = Effect.fnUntraced(function*(n: number) {
    const name = `layers.${n}`
    const output = yield* model.tensor(`${name}.attn.o.weight`)
    const scale = yield* tensor(`${name}.attn.o.scale`)
    const o: Array<Matrix> = []
    for (let from = own.from; from < own.to; from += width / 4) {
      o.push({ weight: put(columns(output, width, from, from + width / 4)), scale })
    }
    return {
      attentionNorm: yield* tensor(`${name}.attn.norm.weight`),
      moeNorm: yield* tensor(`${name}.moe.norm.weight`),
      router: yield* tensor(`${name}.moe.router.weight`),
      q: yield* matrix(`${name}.attn.q`, own),
      k: yield* matrix(`${name}.attn.k`, own),
      v: yield* matrix(`${name}.attn.v`, own),
      o
    }
  })

  return {
    embed: yield* tensor("embed.weight"),
    norm: yield* tensor("norm.weight"),
    head: yield* matrix("head", { from: 0, to: vocabulary }),
    layers: yield* Effect.forEach(Array.from({ length: model.config.n_layers }, (_, n) => n), layer)
  }
})
