/**
 * The whole model in one engine that holds every expert: what a group of ranks is compared with.
 */
import type { Engine, Row } from "./Engine.ts"
import { end } from "./Model.ts"
import * as Sampling from "./Sampling.ts"

/** One forward pass over a batch. Returns the logits of the rows wanted, [n][256]: a view until the engine's next call. */
export const step = (engine: Engine, rows: ReadonlyArray<Row>, wanted: ReadonlyArray<number>): Float32Array => {
  engine.embed(rows)
  for (let layer = 0; layer < engine.config.n_layers; layer++) {
    engine.attention(layer)
    engine.afterAttention()
    engine.route(layer)
    engine.local(layer)
    engine.combine()
  }
  return engine.logits(wanted)
}

/** Takes bytes in from a slot's next position on, `chunk` (default all that a batch holds) at a time. Returns a copy of the logits after the last. */
export const prefill = (engine: Engine, slot: number, tokens: ArrayLike<number>, chunk = engine.rows): Float32Array => {
  let logits = new Float32Array(0)
  for (let from = 0; from < tokens.length; from += chunk) {
    const length = engine.length(slot)
    const rows = Array.from({ length: Math.min(chunk, tokens.length - from) }, (_, i): Row => ({
      slot,
      position: length + i,
      token: tokens[from + i]!
    }))
    logits = step(engine, rows, [rows.length - 1]).slice()
  }
  return logits
}

/** What was written, and whether the model ended it. */
export interface Written {
  readonly bytes: Uint8Array
  readonly ended: boolean
}

/** Continues byte 0 and a prompt by at most `limit` bytes, in a slot of its own that it releases. Default greedy. */
export const generate = (
  engine: Engine,
  prompt: Uint8Array,
  options: { readonly limit: number; readonly sampling?: Sampling.Sampling | undefined; readonly slot?: number | undefined }
): Written => {
  const { limit, sampling = Sampling.greedy, slot = 0 } = options
  const bytes: Array<number> = []
  engine.release(slot)
  let logits = prefill(engine, slot, [end, ...prompt])
  while (true) {
    const token = Sampling.choose(logits, sampling, engine.length(slot))
    if (token !== end) bytes.push(token)
    if (token === end || bytes.length >= limit || engine.length(slot) === engine.config.context) {
      engine.release(slot)
      return { bytes: Uint8Array.from(bytes), ended: token === end }
    }
    logits = step(engine, [{ slot, position: engine.length(slot), token }], [0])
  }
}
