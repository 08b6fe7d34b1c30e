import { exp } from "./exp.ts"
import type { Kernel } from "./kernel.ts"

const f = Math.fround

/** The kernel in plain TypeScript, slow and bit for bit the same: what the WebAssembly one is tested against. */
export const make = (memory: WebAssembly.Memory): Kernel => {
  const view = () => new Float32Array(memory.buffer)
  const sum4 = (a: number, b: number, c: number, d: number) => f(f(a + b) + f(c + d))

  // Lanes are indices modulo 8, added as ((0+4) + (1+5)) + ((2+6) + (3+7)).
  const dot = (length: number, weight: (i: number) => number, x: (i: number) => number): number => {
    const lanes = new Float32Array(8)
    for (let i = 0; i < length; i++) lanes[i & 7] = lanes[i & 7]! + f(weight(i) * x(i))
    const pair = (i: number) => f(lanes[i]! + lanes[i + 4]!)
    return sum4(pair(0), pair(1), pair(2), pair(3))
  }

  const softmax = (m: Float32Array, at: number, count: number): void => {
    const most = m.subarray(at, at + count).reduce((a, b) => Math.max(a, b))
    const lanes = new Float32Array(4)
    for (let i = 0; i < count; i++) {
      m[at + i] = exp(f(m[at + i]! - most))
      lanes[i & 3] = lanes[i & 3]! + m[at + i]!
    }
    const total = sum4(lanes[0]!, lanes[1]!, lanes[2]!, lanes[3]!)
    for (let i = 0; i < count; i++) m[at + i] = m[at + i]! / total
  }

  return {
    multiply: (w, x, y, inputs, outputs, rows) => {
      const m = view()
      for (let r = 0; r < rows; r++) {
        for (let o = 0; o < outputs; o++) {
          m[y / 4 + r * outputs + o] = dot(inputs, (i) => m[w / 4 + o * inputs + i]!, (i) => m[x / 4 + r * inputs + i]!)
        }
      }
    },
    multiplyInt8: (w, scale, x, xStride, y, inputs, outputs, rows) => {
      const m = view()
      const q = new Int8Array(memory.buffer)
      for (let r = 0; r < rows; r++) {
        for (let o = 0; o < outputs; o++) {
          const weight = (i: number) => f(q[w + o * inputs + i]! * m[scale / 4 + o]!)
          m[y / 4 + r * outputs + o] = dot(inputs, weight, (i) => m[(x + r * xStride) / 4 + i]!)
        }
      }
    },
    normalise: (x, gain, y, width, rows, epsilon) => {
      const m = view()
      for (let r = 0; r < rows; r++) {
        const at = (i: number) => m[x / 4 + r * width + i]!
        const root = f(Math.sqrt(f(f(dot(width, at, at) / width) + f(epsilon))))
        for (let i = 0; i < width; i++) m[y / 4 + r * width + i] = f(at(i) / root) * m[gain / 4 + i]!
      }
    },
    rotate: (x, cos, sin, heads) => {
      const m = view()
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < 16; i++) {
          const [low, high] = [x / 4 + 32 * h + i, x / 4 + 32 * h + i + 16]
          const [c, s, a, b] = [m[cos / 4 + i]!, m[sin / 4 + i]!, m[low]!, m[high]!]
          m[low] = f(a * c) - f(b * s)
          m[high] = f(a * s) + f(b * c)
        }
      }
    },
    remember: (key, value, cache, heads) => {
      const m = view()
      for (let h = 0; h < heads; h++) {
        m.copyWithin(cache / 4 + 4096 * h, key / 4 + 32 * h, key / 4 + 32 * h + 32)
        m.copyWithin(cache / 4 + 4096 * h + 2048, value / 4 + 32 * h, value / 4 + 32 * h + 32)
      }
    },
    attend: (q, table, offset, length, heads, y, scores, scale) => {
      const m = view()
      const blocks = new Uint32Array(memory.buffer)
      const padded = (length + 3) & ~3
      for (let h = 0; h < heads; h++) {
        const key = (j: number) => (blocks[table / 4 + (j >> 6)]! + offset) / 4 + 4096 * h + 32 * (j & 63)
        m.fill(-Infinity, scores / 4, scores / 4 + padded)
        for (let j = 0; j < length; j++) {
          m[scores / 4 + j] = f(dot(32, (i) => m[key(j) + i]!, (i) => m[q / 4 + 32 * h + i]!) * f(scale))
        }
        softmax(m, scores / 4, padded)
        for (let i = 0; i < 32; i++) {
          let sum = 0
          for (let j = 0; j < length; j++) sum = f(sum + f(m[scores / 4 + j]! * m[key(j) + 2048 + i]!))
          m[y / 4 + 32 * h + i] = sum
        }
      }
    },
    softmax: (p, size) => softmax(view(), p / 4, size / 4),
    choose: (logits, count, experts, weights) => {
      const m = view()
      softmax(m, logits / 4, count)
      const p = m.slice(logits / 4, logits / 4 + count)
      const order = Array.from(p.keys()).sort((a, b) => p[b]! - p[a]! || a - b).slice(0, 4)
      new Int32Array(memory.buffer).set(order, experts / 4)
      const total = order.reduce((sum, e) => f(sum + p[e]!), 0)
      order.forEach((e, r) => {
        m[weights / 4 + r] = p[e]! / total
        m[logits / 4 + e] = -1
      })
    },
    gate: (z, up, y, count) => {
      const m = view()
      for (let i = 0; i < count; i++) {
        const a = m[z / 4 + i]!
        m[y / 4 + i] = f(a / f(1 + f(exp(-a)))) * m[up / 4 + i]!
      }
    },
    add: (x, y, count) => {
      const m = view()
      for (let i = 0; i < count; i++) m[x / 4 + i] = m[x / 4 + i]! + m[y / 4 + i]!
    },
    combine: (x, y, weights, width, rows) => {
      const m = view()
      for (let r = 0; r < rows; r++) {
        for (let i = 0; i < width; i++) {
          const part = (n: number) => f(m[weights / 4 + 4 * r + n]! * m[y / 4 + (4 * r + n) * width + i]!)
          const sum = f(f(f(part(0) + part(1)) + part(2)) + part(3))
          m[x / 4 + r * width + i] = m[x / 4 + r * width + i]! + sum
        }
      }
    }
  }
}
