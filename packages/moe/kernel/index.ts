// The arithmetic of the model on pointers into one memory: float32, no fused multiply-add, no relaxed SIMD, and for every row an
// order of sums of its own that no other row can change. The package's internal/kernel.ts says what each function does;
// internal/oracle.ts is the same in TypeScript, bit for bit.
import { dot4, dot4Int8, lanes, lower, upper } from "./sums"
import { exp, softmax } from "./softmax"

export { softmax }

const HEAD: usize = 32 * 4
const BLOCK: i32 = 64
// Keys of one head in one block; its values follow.
const KEYS: usize = <usize>BLOCK * HEAD

// Four rows of W serve all rows of x while they are near.
export function multiply(w: usize, x: usize, y: usize, inputs: i32, outputs: i32, rows: i32): void {
  const size = <usize>inputs << 2
  const stride = <usize>outputs << 2
  for (let o: i32 = 0; o < outputs; o += 4) {
    for (let r: i32 = 0; r < rows; r++) v128.store(y + <usize>r * stride, dot4(w, x + <usize>r * size, size))
    w += size << 2
    y += 16
  }
}

// Weights stay int8 in memory, a quarter of float32's size: at one row, where every weight is used once, the whole model takes half the time
// that reading float32 takes, and W[o, i] = float32(q) * scale is rounded once before it is used all the same. Many rows of x share four
// dequantised rows of W; one row alone dequantises in registers.
export function multiplyInt8(
  w: usize, scale: usize, x: usize, xStride: usize, y: usize, inputs: i32, outputs: i32, rows: i32, scratch: usize
): void {
  const size = <usize>inputs
  const stride = <usize>outputs << 2
  for (let o: i32 = 0; o < outputs; o += 4) {
    if (rows == 1) {
      v128.store(y, dot4Int8(w, scale, x, size))
    } else {
      dequantise(w, scale, scratch, inputs)
      for (let r: i32 = 0; r < rows; r++) {
        v128.store(y + <usize>r * stride, dot4(scratch, x + <usize>r * xStride, size << 2))
      }
    }
    w += size << 2
    scale += 16
    y += 16
  }
}

// @ts-ignore: decorator
@inline
function dequantise(w: usize, scale: usize, out: usize, inputs: i32): void {
  for (let r: i32 = 0; r < 4; r++) {
    const s = v128.load32_splat(scale + (<usize>r << 2))
    for (let i: i32 = 0; i < inputs; i += 8) {
      const wide = v128.load_ext<i8>(w)
      v128.store(out, lower(wide, s))
      v128.store(out, upper(wide, s), 16)
      w += 8
      out += 32
    }
  }
}

export function normalise(x: usize, gain: usize, y: usize, width: i32, rows: i32, epsilon: f32): void {
  const size = <usize>width << 2
  for (let r: i32 = 0; r < rows; r++) {
    let low = f32x4.splat(0), high = f32x4.splat(0)
    for (let i: usize = 0; i < size; i += 32) {
      const a = v128.load(x + i), b = v128.load(x + i, 16)
      low = f32x4.add(low, f32x4.mul(a, a))
      high = f32x4.add(high, f32x4.mul(b, b))
    }
    const root = f32x4.splat(sqrt<f32>(lanes(f32x4.add(low, high)) / <f32>width + epsilon))
    for (let i: usize = 0; i < size; i += 16) {
      v128.store(y + i, f32x4.mul(f32x4.div(v128.load(x + i), root), v128.load(gain + i)))
    }
    x += size
    y += size
  }
}

export function rotate(x: usize, cos: usize, sin: usize, heads: i32): void {
  for (let h: i32 = 0; h < heads; h++) {
    for (let i: usize = 0; i < 64; i += 16) {
      const c = v128.load(cos + i), s = v128.load(sin + i)
      const a = v128.load(x + i), b = v128.load(x + i, 64)
      v128.store(x + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)))
      v128.store(x + i, f32x4.add(f32x4.mul(a, s), f32x4.mul(b, c)), 64)
    }
    x += HEAD
  }
}

export function remember(key: usize, value: usize, cache: usize, heads: i32): void {
  for (let h: i32 = 0; h < heads; h++) {
    memory.copy(cache, key, HEAD)
    memory.copy(cache + KEYS, value, HEAD)
    key += HEAD
    value += HEAD
    cache += KEYS << 1
  }
}

export function attend(q: usize, table: usize, offset: usize, length: i32, heads: i32, y: usize, scores: usize, scale: f32): void {
  const factor = f32x4.splat(scale)
  const padded = (length + 3) & ~3
  for (let h: i32 = 0; h < heads; h++) {
    let at = scores
    for (let j: i32 = 0; j < padded; j += 4) {
      const keys = <usize>load<u32>(table + (<usize>(j >> 6) << 2)) + offset + <usize>(j & 63) * HEAD
      v128.store(at, f32x4.mul(dot4(keys, q, HEAD), factor))
      at += 16
    }
    for (let j = length; j < padded; j++) store<f32>(scores + (<usize>j << 2), -Infinity)
    softmax(scores, <usize>padded << 2)
    let o0 = f32x4.splat(0), o1 = f32x4.splat(0), o2 = f32x4.splat(0), o3 = f32x4.splat(0)
    let o4 = f32x4.splat(0), o5 = f32x4.splat(0), o6 = f32x4.splat(0), o7 = f32x4.splat(0)
    at = scores
    for (let first: i32 = 0; first < length; first += BLOCK) {
      let v = <usize>load<u32>(table + (<usize>(first >> 6) << 2)) + offset + KEYS
      const last = scores + (<usize>min(first + BLOCK, length) << 2)
      while (at < last) {
        const a = v128.load32_splat(at)
        o0 = f32x4.add(o0, f32x4.mul(a, v128.load(v)))
        o1 = f32x4.add(o1, f32x4.mul(a, v128.load(v, 16)))
        o2 = f32x4.add(o2, f32x4.mul(a, v128.load(v, 32)))
        o3 = f32x4.add(o3, f32x4.mul(a, v128.load(v, 48)))
        o4 = f32x4.add(o4, f32x4.mul(a, v128.load(v, 64)))
        o5 = f32x4.add(o5, f32x4.mul(a, v128.load(v, 80)))
        o6 = f32x4.add(o6, f32x4.mul(a, v128.load(v, 96)))
        o7 = f32x4.add(o7, f32x4.mul(a, v128.load(v, 112)))
        at += 4
        v += HEAD
      }
    }
    v128.store(y, o0)
    v128.store(y, o1, 16)
    v128.store(y, o2, 32)
    v128.store(y, o3, 48)
    v128.store(y, o4, 64)
    v128.store(y, o5, 80)
    v128.store(y, o6, 96)
    v128.store(y, o7, 112)
    q += HEAD
    y += HEAD
    offset += KEYS << 1
  }
}

export function choose(logits: usize, count: i32, experts: usize, weights: usize): void {
  softmax(logits, <usize>count << 2)
  let total: f32 = 0
  for (let r: usize = 0; r < 16; r += 4) {
    let best: usize = 0
    let most: f32 = -1
    for (let e: i32 = 0; e < count; e++) {
      const p = load<f32>(logits + (<usize>e << 2))
      if (p > most) {
        best = e
        most = p
      }
    }
    store<f32>(logits + (best << 2), -1)
    store<i32>(experts + r, <i32>best)
    store<f32>(weights + r, most)
    total += most
  }
  v128.store(weights, f32x4.div(v128.load(weights), f32x4.splat(total)))
}

export function gate(z: usize, up: usize, y: usize, count: i32): void {
  for (let i: usize = 0; i < <usize>count << 2; i += 16) {
    const a = v128.load(z + i)
    const silu = f32x4.div(a, f32x4.add(f32x4.splat(1), exp(f32x4.neg(a))))
    v128.store(y + i, f32x4.mul(silu, v128.load(up + i)))
  }
}

export function add(x: usize, y: usize, count: i32): void {
  for (let i: usize = 0; i < <usize>count << 2; i += 16) v128.store(x + i, f32x4.add(v128.load(x + i), v128.load(y + i)))
}

export function combine(x: usize, y: usize, weights: usize, width: i32, rows: i32): void {
  const size = <usize>width << 2
  for (let r: i32 = 0; r < rows; r++) {
    const w0 = v128.load32_splat(weights), w1 = v128.load32_splat(weights, 4)
    const w2 = v128.load32_splat(weights, 8), w3 = v128.load32_splat(weights, 12)
    for (let i: usize = 0; i < size; i += 16) {
      const at = y + i
      let sum = f32x4.mul(w0, v128.load(at))
      sum = f32x4.add(sum, f32x4.mul(w1, v128.load(at + size)))
      sum = f32x4.add(sum, f32x4.mul(w2, v128.load(at + 2 * size)))
      sum = f32x4.add(sum, f32x4.mul(w3, v128.load(at + 3 * size)))
      v128.store(x + i, f32x4.add(v128.load(x + i), sum))
    }
    x += size
    y += size << 2
    weights += 16
  }
}
