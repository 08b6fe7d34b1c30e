import { readFileSync } from "node:fs"

/**
 * The arithmetic of the model. Every argument that is not a count is a byte offset into one memory; matrices are row-major, rows of
 * activations lie side by side unless a stride is given. What a row becomes depends on that row alone.
 */
export interface Kernel {
  /** y[row] = W x[row], W float32 of [outputs, inputs]. */
  readonly multiply: (w: number, x: number, y: number, inputs: number, outputs: number, rows: number) => void
  /** The same for int8 W with a float32 scale a row of W. `xStride` is in bytes; `scratch` holds four rows of float32. */
  readonly multiplyInt8: (
    w: number,
    scale: number,
    x: number,
    xStride: number,
    y: number,
    inputs: number,
    outputs: number,
    rows: number,
    scratch: number
  ) => void
  /** y = x / sqrt(mean(x²) + epsilon) * gain. */
  readonly normalise: (x: number, gain: number, y: number, width: number, rows: number, epsilon: number) => void
  /** Rotary position, in place, for one row: 16 cosines and sines serve every head. */
  readonly rotate: (x: number, cos: number, sin: number, heads: number) => void
  /** Copies one row's keys and values to its place in a block of the cache. */
  readonly remember: (key: number, value: number, cache: number, heads: number) => void
  /** Attention of one row over `length` positions. `table` lists the blocks (u32); `offset` is the layer's place in each. */
  readonly attend: (
    q: number,
    table: number,
    offset: number,
    length: number,
    heads: number,
    y: number,
    scores: number,
    scale: number
  ) => void
  /** In place over `size` bytes, a multiple of 16. */
  readonly softmax: (p: number, size: number) => void
  /** The four most probable of `count` experts, best first, the lower index among equals, and their shares. Spoils the logits. */
  readonly choose: (logits: number, count: number, experts: number, weights: number) => void
  /** y = silu(z) * up. */
  readonly gate: (z: number, up: number, y: number, count: number) => void
  /** x += y. */
  readonly add: (x: number, y: number, count: number) => void
  /** x[row] += the sum of weights[row][r] * y[row][r], r = 0 … 3 in this order. */
  readonly combine: (x: number, y: number, weights: number, width: number, rows: number) => void
}

let compiled: WebAssembly.Module | undefined

/** The compiled kernel over a memory. */
export const make = (memory: WebAssembly.Memory): Kernel => {
  compiled ??= new WebAssembly.Module(readFileSync(new URL("./kernel.wasm", import.meta.url)))
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Kernel
}
