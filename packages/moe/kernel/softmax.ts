// exp without a library, so that WebAssembly and JavaScript give the same bits: x = n ln 2 + r, |r| <= ln 2 / 2, a Taylor
// polynomial of degree 8 in float64 (relative error 3e-10, far below half a unit of float32), and 2^n put together from bits.
import { lanes } from "./sums"

const LOG2E: f64 = 1.4426950408889634
const LN2_HIGH: f64 = 0.6931471803691238
const LN2_LOW: f64 = 1.9082149292705877e-10

// @ts-ignore: decorator
@inline
function exp2(x: v128): v128 {
  const clamped = f64x2.max(f64x2.min(x, f64x2.splat(700)), f64x2.splat(-700))
  const n = f64x2.floor(f64x2.add(f64x2.mul(clamped, f64x2.splat(LOG2E)), f64x2.splat(0.5)))
  const r = f64x2.sub(
    f64x2.sub(clamped, f64x2.mul(n, f64x2.splat(LN2_HIGH))),
    f64x2.mul(n, f64x2.splat(LN2_LOW))
  )
  let p = f64x2.splat(1.0 / 40320)
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 5040))
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 720))
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 120))
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 24))
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1.0 / 6))
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(0.5))
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1))
  p = f64x2.add(f64x2.mul(p, r), f64x2.splat(1))
  const exponent = i64x2.add(i64x2.extend_low_i32x4_s(i32x4.trunc_sat_f64x2_s_zero(n)), i64x2.splat(1023))
  return f64x2.mul(p, i64x2.shl(exponent, 52))
}

// exp of four float32, each rounded to float32.
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  const low = exp2(f64x2.promote_low_f32x4(x))
  const high = exp2(f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 2, 3)))
  return v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5)
}

// In place over `size` bytes, a multiple of 16: exponentials are added in four lanes (index modulo 4), the lanes as (0+1) + (2+3).
// -Infinity becomes 0.
export function softmax(p: usize, size: usize): void {
  let most = v128.load(p)
  for (let i: usize = 16; i < size; i += 16) most = f32x4.max(most, v128.load(p + i))
  const max = f32x4.splat(Mathf.max(
    Mathf.max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    Mathf.max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3))
  ))
  let total = f32x4.splat(0)
  for (let i: usize = 0; i < size; i += 16) {
    const e = exp(f32x4.sub(v128.load(p + i), max))
    total = f32x4.add(total, e)
    v128.store(p + i, e)
  }
  const sum = f32x4.splat(lanes(total))
  for (let i: usize = 0; i < size; i += 16) v128.store(p + i, f32x4.div(v128.load(p + i), sum))
}
