const bits = new Float64Array(1)
const words = new Int32Array(bits.buffer)

/** exp(x) with the same bits everywhere: the kernel's steps in the kernel's order (kernel/softmax.ts). Arguments are clamped to ±700. */
export const exp = (x: number): number => {
  const clamped = Math.max(Math.min(x, 700), -700)
  const n = Math.floor(clamped * Math.LOG2E + 0.5)
  const r = clamped - n * 0.6931471803691238 - n * 1.9082149292705877e-10
  let p = 1 / 40320
  p = p * r + 1 / 5040
  p = p * r + 1 / 720
  p = p * r + 1 / 120
  p = p * r + 1 / 24
  p = p * r + 1 / 6
  p = p * r + 0.5
  p = p * r + 1
  p = p * r + 1
  words[0] = 0
  words[1] = (n + 1023) << 20
  return p * bits[0]!
}
