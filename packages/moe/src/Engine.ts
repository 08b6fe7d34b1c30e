/**
 * The arithmetic of one rank: its weights, its requests' keys and values, and the steps of a forward pass over one batch of rows. Every
 * step is synchronous and bounded by the batch, so that a worker can put collectives between steps and yield between layers:
 *
 *     embed(rows)
 *     for each layer:  attention → (all-gather over tp) → afterAttention → route → (experts, here and elsewhere) → combine
 *     logits(rows wanted)
 *
 * - MO-1: a row's result has the same bits in any batch, chunk, tp size and placement of experts.
 *
 * A view that a step returns is valid until the next call of the engine: what has to last is copied.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Arena from "./internal/arena.ts"
import * as Wasm from "./internal/kernel.ts"
import * as KvCache from "./internal/kvCache.ts"
import { loadDense } from "./internal/weights.ts"
import * as Model from "./Model.ts"
import * as Placement from "./Placement.ts"
import type { WeightsError } from "./WeightsError.ts"

/** One byte taken in. Rows of one slot come in the order of their positions, each at most one past what the slot holds. */
export interface Row {
  /** The request's place in the cache: any integer that the caller gives it. */
  readonly slot: number
  readonly position: number
  readonly token: number
}

/** Where the batch goes next. Views, row by row. */
export interface Route {
  /** [rows][4] experts, best first. */
  readonly experts: Int32Array
  /** [rows][4] shares, which add up to 1. */
  readonly weights: Float32Array
  /** [rows][d_model] what the experts are given. */
  readonly h: Float32Array
}

/** How an engine is made; every option has a default: one rank that holds the whole model. */
export interface Options {
  /** Which rank of how many; decides the experts unless `experts` does. Default 0 of 1. */
  readonly rank?: number | undefined
  readonly ranks?: number | undefined
  /** Which share of the attention heads: `size` is 1, 2 or 4. Default all. */
  readonly tp?: { readonly index: number; readonly size: number } | undefined
  /** The experts to hold, by layer. Default `Placement.resident`. */
  readonly experts?: ReadonlyArray<ReadonlyArray<number>> | undefined
  /** Most rows in a batch. Default 64. */
  readonly rows?: number | undefined
  /** Most blocks of 64 positions in the cache, of 512 KiB each at tp 1; taken as they are needed. Default 256. */
  readonly blocks?: number | undefined
  /** Weights. Default those that ship with the package. */
  readonly file?: string | URL | undefined
  /** The arithmetic, over a memory. Default WebAssembly; tests put the oracle here. */
  readonly kernel?: ((memory: WebAssembly.Memory) => Wasm.Kernel) | undefined
}

/** What an engine holds. */
export interface Stats {
  /** By layer, in ascending order. */
  readonly experts: ReadonlyArray<ReadonlyArray<number>>
  /** Bytes of the file of weights read so far, its header included. */
  readonly bytesRead: number
  /** Bytes of WebAssembly memory; it never shrinks. */
  readonly memory: number
  /** Slots that hold blocks of the cache. */
  readonly slots: ReadonlyArray<number>
  readonly blocksUsed: number
  /** Bytes that the cache has taken so far; it keeps them. */
  readonly cacheBytes: number
  readonly blocks: number
}

/** One rank's weights, cache and steps; see the head of this module for their order. */
export interface Engine {
  readonly config: Model.Config
  /** Most rows in a batch. */
  readonly rows: number

  /** Begins a batch of 1 … `rows` rows: writes their embeddings. Throws a RangeError for a bad token or a position that does not fit. */
  readonly embed: (rows: ReadonlyArray<Row>) => void
  /** Attention of the batch through this rank's heads: [rows][d_model], what it adds to the output projection's sum. */
  readonly attention: (layer: number) => Float32Array
  /**
   * Adds attention to the batch. `parts` are the results of `attention` of all tp ranks in order (raw float32, at any alignment), added as
   * (0+1) + (2+3); one part is the whole sum. Default: this rank's own.
   */
  readonly afterAttention: (parts?: ReadonlyArray<ArrayBufferView>) => void
  /** Chooses the experts of the batch. */
  readonly route: (layer: number) => Route
  /** Runs the experts held here on the rows of the batch that chose them, straight into `outputs`. Returns how many of the [rows][4] places it filled. */
  readonly local: (layer: number) => number
  /** Runs one expert held here on any number of rows (raw float32 [n][d_model]) and returns [n][d_model], which belongs to the caller. */
  readonly expert: (layer: number, expert: number, h: ArrayBufferView) => Float32Array<ArrayBuffer>
  /** Writes one result of an expert elsewhere (raw float32 [d_model]) to the place of a row and the rank, 0 … 3, that `route` gave the expert. */
  readonly place: (row: number, choice: number, y: ArrayBufferView) => void
  /** Adds the experts' results in the order of `route`. Every place must have been filled. */
  readonly combine: () => void
  /** The logits of some rows of the batch, [n][256]. */
  readonly logits: (rows: ReadonlyArray<number>) => Float32Array

  /** Takes room for so many positions of a slot. False, and nothing is changed, if there are too few blocks or the context is shorter. */
  readonly reserve: (slot: number, positions: number) => boolean
  /** Forgets a slot. */
  readonly release: (slot: number) => void
  /** How many positions a slot holds: 0 for an unknown one. */
  readonly length: (slot: number) => number
  /** Keys and values of positions `from` to `to` (exclusive) of this rank's heads, `kvBytes` a position. */
  readonly readKv: (slot: number, from: number, to: number) => Uint8Array<ArrayBuffer>
  /** Writes what `readKv` of a rank of the same tp place gave. The slot then ends behind it. Throws a RangeError if it leaves a gap or does not fit. */
  readonly writeKv: (slot: number, from: number, bytes: Uint8Array) => void
  readonly kvBytes: number

  /** Whether an expert is held here. */
  readonly holds: (layer: number, expert: number) => boolean
  /** Reads an expert from the file. Nothing if it is held already. */
  readonly loadExpert: (layer: number, expert: number) => Effect.Effect<void, WeightsError>
  /** The bytes of an expert held here (a copy), as another rank's `putExpert` takes them. */
  readonly expertBytes: (layer: number, expert: number) => Uint8Array<ArrayBuffer>
  /** Holds an expert whose bytes came from another rank. Throws a RangeError if they are not `Model.expertBytes` many. */
  readonly putExpert: (layer: number, expert: number, bytes: Uint8Array) => void
  /** Gives an expert's room back to later ones. Throws a RangeError if it is not held. */
  readonly dropExpert: (layer: number, expert: number) => void
  /** What it holds at the moment of the call. */
  readonly stats: () => Stats
}

const raw = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

/** Reads one rank's share of the weights. The scope closes the file; the engine itself needs no closing. */
export const make = (options: Options = {}): Effect.Effect<Engine, WeightsError, Scope.Scope> =>
  Effect.gen(function*() {
    const model = yield* Model.open(options.file ?? Model.file)
    const { config } = model
    const { rank = 0, ranks = 1, rows: most = 64, blocks = 256, tp = { index: 0, size: 1 } } = options
    if (![1, 2, 4].includes(tp.size)) return yield* Effect.die(new RangeError(`tp ${tp.size}: heads are shared by 1, 2 or 4 ranks`))
    const arena = Arena.make()
    const kernel = (options.kernel ?? Wasm.make)(arena.memory)
    const dense = yield* loadDense(model, arena, tp)

    const width = config.d_model
    const hidden = config.d_expert
    const heads = config.n_heads / tp.size
    const share = width / tp.size
    const cache = KvCache.make(arena, { layers: config.n_layers, heads, context: config.context, blocks })
    const scale = 1 / Math.sqrt(Model.headSize)

    const region = (floats: number) => arena.allocate(floats * 4)
    const [x, h, q, k, v, mixed] = [width, width, share, share, share, share].map((n) => region(most * n)) as Six
    const parts = [0, 1, 2, 3].map(() => region(most * width))
    const quarters = dense.layers[0]!.o.map(() => region(most * width))
    const routing = region(most * config.n_experts)
    const chosen = region(most * Model.topK)
    const shares = region(most * Model.topK)
    const outputs = region(most * Model.topK * width)
    const [given, gates, ups, taken] = [width, hidden, hidden, width].map((n) => region(most * n)) as Four
    const logitsAt = region(most * Model.vocabulary)
    const scores = region(config.context)
    const scratch = region(4 * Math.max(width, hidden))

    const half = Model.headSize / 2
    const turns = Array.from({ length: half }, (_, i) => config.rope_theta ** (-i / half))
    const [cos, sin] = [Math.cos, Math.sin].map((wave) => {
      const at = region(config.context * half)
      const table = arena.floats().subarray(at / 4, at / 4 + config.context * half)
      for (let i = 0; i < table.length; i++) table[i] = wave(Math.floor(i / half) * turns[i % half]!)
      return at
    }) as [number, number]

    const pool = Arena.pool(arena, Model.expertBytes(config))
    const held = Array.from({ length: config.n_layers }, () => new Map<number, number>())
    const where = (layer: number, expert: number): number => {
      const at = held[layer]?.get(expert)
      if (at === undefined) throw new RangeError(`expert ${expert} of layer ${layer} is not held by rank ${rank}`)
      return at
    }
    const putExpert: Engine["putExpert"] = (layer, expert, bytes) => {
      if (bytes.length !== Model.expertBytes(config)) {
        throw new RangeError(`an expert has ${Model.expertBytes(config)} bytes, not ${bytes.length}`)
      }
      const at = held[layer]!.get(expert) ?? pool.take()
      held[layer]!.set(expert, at)
      arena.bytes().set(bytes, at)
    }
    const loadExpert: Engine["loadExpert"] = (layer, expert) =>
      held[layer]!.has(expert)
        ? Effect.void
        : Effect.map(model.expert(layer, expert), (bytes) => putExpert(layer, expert, bytes))

    const runExpert = (at: number, rows: number): void => {
      const w3 = at + hidden * width + 4 * hidden
      const w2 = w3 + hidden * width + 4 * hidden
      const product = (w: number, from: number, to: number, inputs: number, outputs: number) =>
        kernel.multiplyInt8(w, w + inputs * outputs, from, inputs * 4, to, inputs, outputs, rows, scratch)
      product(at, given, gates, width, hidden)
      product(w3, given, ups, width, hidden)
      kernel.gate(gates, ups, gates, rows * hidden)
      product(w2, gates, taken, hidden, width)
    }

    let batch: ReadonlyArray<Row> = []
    const floats = (at: number, length: number) => arena.floats().subarray(at / 4, at / 4 + length)
    const copyRow = (from: number, to: number) => arena.bytes().copyWithin(to, from, from + width * 4)

    const layers = Array.from({ length: config.n_layers }, (_, n) => n)
    const wanted = options.experts ?? layers.map(() => Placement.resident(rank, config.n_experts, ranks))
    for (const layer of layers) {
      const experts = wanted[layer] ?? []
      const read = yield* model.experts(layer, experts)
      read.forEach((bytes, i) => putExpert(layer, experts[i]!, bytes))
    }

    return {
      config,
      rows: most,

      embed: (rows) => {
        if (rows.length < 1 || rows.length > most) throw new RangeError(`a batch has 1 to ${most} rows, not ${rows.length}`)
        rows.forEach(({ position, slot, token }, r) => {
          if (!Number.isInteger(token) || token < 0 || token >= Model.vocabulary) throw new RangeError(`token ${token} is no byte`)
          cache.append(slot, position)
          copyRow(dense.embed + token * width * 4, x + r * width * 4)
        })
        batch = rows
      },

      attention: (layer) => {
        const weights = dense.layers[layer]!
        const rows = batch.length
        const product = (w: { readonly weight: number; readonly scale: number }, to: number) =>
          kernel.multiplyInt8(w.weight, w.scale, h, width * 4, to, width, share, rows, scratch)
        kernel.normalise(x, weights.attentionNorm, h, width, rows, config.norm_eps)
        product(weights.q, q)
        product(weights.k, k)
        product(weights.v, v)
        batch.forEach(({ position, slot }, r) => {
          const [own, turn] = [r * share * 4, position * half * 4]
          kernel.rotate(q + own, cos + turn, sin + turn, heads)
          kernel.rotate(k + own, cos + turn, sin + turn, heads)
          kernel.remember(k + own, v + own, cache.place(layer, slot, position), heads)
        })
        batch.forEach(({ position, slot }, r) => {
          const own = r * share * 4
          kernel.attend(q + own, cache.table(slot), cache.offset(layer), position + 1, heads, mixed + own, scores, scale)
        })
        // Quarter by quarter and then as a tree, so that 1, 2 and 4 tp ranks add in the same order.
        weights.o.forEach((w, g) => {
          kernel.multiplyInt8(w.weight, w.scale, mixed + g * width, share * 4, quarters[g]!, width / 4, width, rows, scratch)
        })
        return floats(tree(kernel, quarters, rows * width), rows * width)
      },

      afterAttention: (given) => {
        const size = batch.length * width
        if (given !== undefined) {
          if (![1, 2, 4].includes(given.length) || given.some((part) => part.byteLength !== size * 4)) {
            throw new RangeError(`1, 2 or 4 parts of ${size * 4} bytes belong here, not ${given.map((part) => part.byteLength)}`)
          }
          given.forEach((part, i) => arena.bytes().set(raw(part), parts[i]!))
        }
        kernel.add(x, given === undefined ? quarters[0]! : tree(kernel, parts.slice(0, given.length), size), size)
      },

      route: (layer) => {
        const weights = dense.layers[layer]!
        const rows = batch.length
        kernel.normalise(x, weights.moeNorm, h, width, rows, config.norm_eps)
        kernel.multiply(weights.router, h, routing, width, config.n_experts, rows)
        for (let r = 0; r < rows; r++) {
          kernel.choose(routing + r * config.n_experts * 4, config.n_experts, chosen + r * 16, shares + r * 16)
        }
        return {
          experts: arena.words().subarray(chosen / 4, chosen / 4 + rows * Model.topK),
          weights: floats(shares, rows * Model.topK),
          h: floats(h, rows * width)
        }
      },

      local: (layer) => {
        const experts = arena.words().subarray(chosen / 4, chosen / 4 + batch.length * Model.topK)
        let filled = 0
        for (const [expert, at] of held[layer]!) {
          const places: Array<number> = []
          for (let i = experts.indexOf(expert); i >= 0; i = experts.indexOf(expert, i + 1)) places.push(i)
          if (places.length === 0) continue
          places.forEach((place, i) => copyRow(h + (place >> 2) * width * 4, given + i * width * 4))
          runExpert(at, places.length)
          places.forEach((place, i) => copyRow(taken + i * width * 4, outputs + place * width * 4))
          filled += places.length
        }
        return filled
      },

      expert: (layer, expert, rows) => {
        const at = where(layer, expert)
        const input = raw(rows)
        const out = new Float32Array(input.length / 4)
        for (let from = 0; from < input.length; from += most * width * 4) {
          const piece = input.subarray(from, from + most * width * 4)
          arena.bytes().set(piece, given)
          runExpert(at, piece.length / (width * 4))
          out.set(floats(taken, piece.length / 4), from / 4)
        }
        return out
      },

      place: (row, choice, y) => arena.bytes().set(raw(y), outputs + (row * Model.topK + choice) * width * 4),
      combine: () => kernel.combine(x, outputs, shares, width, batch.length),

      logits: (rows) => {
        rows.forEach((row, i) => copyRow(x + row * width * 4, given + i * width * 4))
        kernel.normalise(given, dense.norm, h, width, rows.length, config.norm_eps)
        const { scale: scales, weight } = dense.head
        kernel.multiplyInt8(weight, scales, h, width * 4, logitsAt, width, Model.vocabulary, rows.length, scratch)
        return floats(logitsAt, rows.length * Model.vocabulary)
      },

      reserve: cache.reserve,
      release: cache.release,
      length: cache.length,
      readKv: cache.read,
      writeKv: cache.write,
      kvBytes: cache.positionBytes,

      holds: (layer, expert) => held[layer]?.has(expert) ?? false,
      loadExpert,
      expertBytes: (layer, expert) => {
        const at = where(layer, expert)
        return arena.bytes().slice(at, at + Model.expertBytes(config))
      },
      putExpert,
      dropExpert: (layer, expert) => {
        pool.give(where(layer, expert))
        held[layer]!.delete(expert)
      },
      stats: () => ({
        experts: held.map((experts) => [...experts.keys()].sort((a, b) => a - b)),
        bytesRead: model.weights.bytesRead(),
        memory: arena.memory.buffer.byteLength,
        slots: cache.slots(),
        blocksUsed: cache.used(),
        cacheBytes: cache.bytes(),
        blocks
      })
    }
  })

type Four = [number, number, number, number]
type Six = [number, number, number, number, number, number]

// Adds 1, 2 or 4 arrays as (0+1) + (2+3) into the first.
const tree = (kernel: Wasm.Kernel, [a, b, c, d]: ReadonlyArray<number>, count: number): number => {
  if (b !== undefined) kernel.add(a!, b, count)
  if (c !== undefined && d !== undefined) {
    kernel.add(c, d, count)
    kernel.add(a!, c, count)
  }
  return a!
}
