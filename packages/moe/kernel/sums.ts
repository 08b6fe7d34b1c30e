// The order of sums. Products of a dot product are added in eight lanes (index modulo 8), the lanes then as
// ((0+4) + (1+5)) + ((2+6) + (3+7)). It depends on nothing but the length, which is a multiple of 8.

// The four lanes of a, b, c and d added up: one vector of four sums.
// @ts-ignore: decorator
@inline
function across(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5)
  const AB = v128.shuffle<f32>(a, b, 2, 6, 3, 7)
  const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5)
  const CD = v128.shuffle<f32>(c, d, 2, 6, 3, 7)
  return f32x4.add(
    f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7)),
    f32x4.add(v128.shuffle<f32>(AB, CD, 0, 1, 4, 5), v128.shuffle<f32>(AB, CD, 2, 3, 6, 7))
  )
}

// The four lanes of one vector, added in the same order.
// @ts-ignore: decorator
@inline
export function lanes(a: v128): f32 {
  return (f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1)) + (f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3))
}

// Four neighbouring float32 rows times one vector. `size` is a row's length in bytes, a multiple of 32.
// @ts-ignore: decorator
@inline
export function dot4(w: usize, x: usize, size: usize): v128 {
  const w1 = w + size, w2 = w1 + size, w3 = w2 + size
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0)
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0)
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0)
  let d0 = f32x4.splat(0), d1 = f32x4.splat(0)
  for (let i: usize = 0; i < size; i += 32) {
    const low = v128.load(x + i), high = v128.load(x + i, 16)
    a0 = f32x4.add(a0, f32x4.mul(v128.load(w + i), low))
    a1 = f32x4.add(a1, f32x4.mul(v128.load(w + i, 16), high))
    b0 = f32x4.add(b0, f32x4.mul(v128.load(w1 + i), low))
    b1 = f32x4.add(b1, f32x4.mul(v128.load(w1 + i, 16), high))
    c0 = f32x4.add(c0, f32x4.mul(v128.load(w2 + i), low))
    c1 = f32x4.add(c1, f32x4.mul(v128.load(w2 + i, 16), high))
    d0 = f32x4.add(d0, f32x4.mul(v128.load(w3 + i), low))
    d1 = f32x4.add(d1, f32x4.mul(v128.load(w3 + i, 16), high))
  }
  return across(f32x4.add(a0, a1), f32x4.add(b0, b1), f32x4.add(c0, c1), f32x4.add(d0, d1))
}

// Eight int8 of a row, dequantised: float32(q) * scale, rounded once.
// @ts-ignore: decorator
@inline
export function lower(wide: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(wide)), scale)
}
// @ts-ignore: decorator
@inline
export function upper(wide: v128, scale: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(wide)), scale)
}

// dot4 of four int8 rows of `size` elements, dequantised on the way: the same bits.
// @ts-ignore: decorator
@inline
export function dot4Int8(w: usize, scale: usize, x: usize, size: usize): v128 {
  const w1 = w + size, w2 = w1 + size, w3 = w2 + size
  const s0 = v128.load32_splat(scale), s1 = v128.load32_splat(scale, 4)
  const s2 = v128.load32_splat(scale, 8), s3 = v128.load32_splat(scale, 12)
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0)
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0)
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0)
  let d0 = f32x4.splat(0), d1 = f32x4.splat(0)
  for (let i: usize = 0; i < size; i += 8) {
    const low = v128.load(x + (i << 2)), high = v128.load(x + (i << 2), 16)
    const a = v128.load_ext<i8>(w + i)
    a0 = f32x4.add(a0, f32x4.mul(lower(a, s0), low))
    a1 = f32x4.add(a1, f32x4.mul(upper(a, s0), high))
    const b = v128.load_ext<i8>(w1 + i)
    b0 = f32x4.add(b0, f32x4.mul(lower(b, s1), low))
    b1 = f32x4.add(b1, f32x4.mul(upper(b, s1), high))
    const c = v128.load_ext<i8>(w2 + i)
    c0 = f32x4.add(c0, f32x4.mul(lower(c, s2), low))
    c1 = f32x4.add(c1, f32x4.mul(upper(c, s2), high))
    const d = v128.load_ext<i8>(w3 + i)
    d0 = f32x4.add(d0, f32x4.mul(lower(d, s3), low))
    d1 = f32x4.add(d1, f32x4.mul(upper(d, s3), high))
  }
  return across(f32x4.add(a0, a1), f32x4.add(b0, b1), f32x4.add(c0, c1), f32x4.add(d0, d1))
}
