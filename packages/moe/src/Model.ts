/**
 * The model that a file of weights holds: its hyper-parameters, and where each tensor and each expert lies.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Safetensors from "./Safetensors.ts"
import { WeightsError } from "./WeightsError.ts"

const Count = Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 65536 }))

/** The hyper-parameters, as `__metadata__` gives them. What the kernel fixes is a literal. */
export const Config = Schema.Struct({
  format: Schema.Literal("byte-moe"),
  format_version: Schema.Literal("1"),
  activation: Schema.Literal("swiglu"),
  rope: Schema.Literal("half-split"),
  vocab: Schema.Literal("256"),
  head_dim: Schema.Literal("32"),
  top_k: Schema.Literal("4"),
  end_of_entry: Schema.Literal("0"),
  d_model: Count.check(Schema.isMultipleOf(128)),
  n_layers: Count,
  n_heads: Count.check(Schema.isMultipleOf(4)),
  n_experts: Count.check(Schema.isMultipleOf(4)),
  d_expert: Count.check(Schema.isMultipleOf(8)),
  context: Count.check(Schema.isMultipleOf(64)),
  rope_theta: Schema.FiniteFromString,
  norm_eps: Schema.FiniteFromString
})
export type Config = typeof Config.Type

/** Experts a byte goes to. */
export const topK = 4
/** Coordinates of an attention head. */
export const headSize = 32
/** Bytes are tokens. */
export const vocabulary = 256
/** The byte that starts every sequence and ends every entry. */
export const end = 0

/** The weights that ship with this package. */
export const file: URL = new URL("../model/model.safetensors", import.meta.url)

/** An open model; nothing but its header has been read. */
export interface Model {
  readonly config: Config
  readonly weights: Safetensors.Safetensors
  /** The bytes of a tensor, or of some of its rows. */
  readonly tensor: (
    name: string,
    rows?: { readonly from: number; readonly to: number }
  ) => Effect.Effect<Uint8Array, WeightsError>
  /** The bytes of an expert's six tensors, as they lie in the file: `expertBytes(config)` of them. */
  readonly expert: (layer: number, expert: number) => Effect.Effect<Uint8Array, WeightsError>
  /** The same for several experts of a layer, in their order. Neighbours in the file are read at once. */
  readonly experts: (layer: number, experts: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Uint8Array>, WeightsError>
}

/** Size of an expert in the file and in memory. */
export const expertBytes = ({ d_expert, d_model }: Config): number => 3 * d_expert * d_model + 8 * d_expert + 4 * d_model

const expertParts = ["w1.weight", "w1.scale", "w3.weight", "w3.scale", "w2.weight", "w2.scale"]

type Layout = ReadonlyArray<readonly [name: string, dtype: "I8" | "F32", shape: ReadonlyArray<number>]>

const layout = ({ d_expert, d_model, n_experts, n_layers }: Config): Layout => {
  const matrix = (name: string, rows: number, columns: number): Layout => [
    [`${name}.weight`, "I8", [rows, columns]],
    [`${name}.scale`, "F32", [rows]]
  ]
  const range = (n: number) => Array.from({ length: n }, (_, i) => i)
  return [
    ["embed.weight", "F32", [vocabulary, d_model]],
    ["norm.weight", "F32", [d_model]],
    ...matrix("head", vocabulary, d_model),
    ...range(n_layers).flatMap((n): Layout => [
      [`layers.${n}.attn.norm.weight`, "F32", [d_model]],
      [`layers.${n}.moe.norm.weight`, "F32", [d_model]],
      [`layers.${n}.moe.router.weight`, "F32", [n_experts, d_model]],
      ...["q", "k", "v", "o"].flatMap((part) => matrix(`layers.${n}.attn.${part}`, d_model, d_model)),
      ...range(n_experts).flatMap((e) => [
        ...matrix(`layers.${n}.moe.experts.${e}.w1`, d_expert, d_model),
        ...matrix(`layers.${n}.moe.experts.${e}.w3`, d_expert, d_model),
        ...matrix(`layers.${n}.moe.experts.${e}.w2`, d_model, d_expert)
      ])
    ])
  ]
}

/** Opens a file of weights and checks that it holds every tensor that its hyper-parameters ask for; the scope closes it. */
export const open = (location: string | URL): Effect.Effect<Model, WeightsError, Scope.Scope> =>
  Effect.gen(function*() {
    const weights = yield* Safetensors.open(location)
    const fail = (where: string, issue: string, advice = "Export the model again with train.py") =>
      new WeightsError({ file: weights.file, where, issue, advice })
    const { format, format_version } = weights.metadata
    if (format !== "byte-moe" || format_version !== "1") {
      const found = `format ${format ?? "(none)"}, version ${format_version ?? "(none)"}`
      return yield* fail("__metadata__.format_version", `${found}; this reads byte-moe, version 1`, "Use a matching release")
    }
    const config = yield* Schema.decodeUnknownEffect(Config)(weights.metadata).pipe(
      Effect.mapError((error) => fail("__metadata__", error.message))
    )
    if (config.n_heads * headSize !== config.d_model) {
      return yield* fail("__metadata__.n_heads", `${config.n_heads} heads of ${headSize} do not make ${config.d_model}`)
    }
    for (const [name, dtype, shape] of layout(config)) {
      const tensor = weights.tensors.get(name)
      if (tensor === undefined) return yield* fail(name, "the tensor is missing")
      if (tensor.dtype !== dtype || tensor.shape.join() !== shape.join()) {
        return yield* fail(name, `${tensor.dtype} [${tensor.shape}] where ${dtype} [${shape}] belongs`)
      }
    }
    const offsets = (name: string) => weights.tensors.get(name)!.data_offsets
    for (let n = 0; n < config.n_layers; n++) {
      for (let e = 0; e < config.n_experts; e++) {
        const parts = expertParts.map((part) => `layers.${n}.moe.experts.${e}.${part}`)
        const gap = parts.find((name, i) => i > 0 && offsets(name)[0] !== offsets(parts[i - 1]!)[1])
        if (gap !== undefined) return yield* fail(gap, "the tensors of an expert do not lie side by side")
      }
    }

    const nameOf = (layer: number, expert: number) => `layers.${layer}.moe.experts.${expert}`
    const placeOf = (name: string) => [offsets(`${name}.w1.weight`)[0], offsets(`${name}.w2.scale`)[1]] as const

    return {
      config,
      weights,
      tensor: (name, rows) => {
        const { data_offsets: [begin, end], shape } = weights.tensors.get(name)!
        const stride = (end - begin) / shape[0]!
        return weights.read(begin + (rows?.from ?? 0) * stride, rows === undefined ? end : begin + rows.to * stride, name)
      },
      expert: (layer, expert) => {
        const name = nameOf(layer, expert)
        return weights.read(...placeOf(name), name)
      },
      experts: (layer, experts) => {
        const runs: Array<{ readonly name: string; readonly begin: number; end: number }> = []
        for (const expert of experts) {
          const name = nameOf(layer, expert)
          const [begin, end] = placeOf(name)
          const last = runs.at(-1)
          if (last?.end === begin) last.end = end
          else runs.push({ name, begin, end })
        }
        const size = expertBytes(config)
        return Effect.map(
          Effect.forEach(runs, ({ begin, end, name }) => weights.read(begin, end, name)),
          (read) => read.flatMap((bytes) => Array.from({ length: bytes.length / size }, (_, i) => bytes.subarray(i * size, (i + 1) * size)))
        )
      }
    }
  })
