import type { Numbers, Reduction } from "../Collectives.ts"

const reductions: ReadonlyArray<Reduction> = ["sum", "min", "max"]

const types: ReadonlyArray<Float32ArrayConstructor | Float64ArrayConstructor | Int32ArrayConstructor> = [
  Float32Array,
  Float64Array,
  Int32Array
]

const typeOf = (values: Numbers): number => values instanceof Float32Array ? 0 : values instanceof Float64Array ? 1 : 2

/** A reduction of a type of numbers as a small integer, for peers to compare. */
export const encode = (values: Numbers, reduction: Reduction): number => typeOf(values) * reductions.length + reductions.indexOf(reduction)

export const describe = (code: number): string =>
  `${reductions[code % reductions.length]}, ${types[Math.floor(code / reductions.length)]?.name}`

export const bytesOf = (values: Numbers): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

/** Holds one part at a time where it can be read as numbers, if its lane put it at an odd offset. */
let aligned = new Uint8Array(0)

const numbersOf = (type: number, bytes: Uint8Array): Numbers => {
  const Type = types[type]!
  const length = bytes.length / Type.BYTES_PER_ELEMENT
  const buffer = bytes.buffer as ArrayBuffer
  if (bytes.byteOffset % Type.BYTES_PER_ELEMENT === 0) return new Type(buffer, bytes.byteOffset, length)
  if (aligned.length < bytes.length) aligned = new Uint8Array(bytes.length)
  aligned.set(bytes)
  return new Type(aligned.buffer, 0, length)
}

/** Combines the parts in their order, `values` standing in for the part at `index`. */
export const reduce = <A extends Numbers>(
  values: A,
  reduction: Reduction,
  parts: ReadonlyArray<Uint8Array>,
  index: number
): A => {
  const type = typeOf(values)
  const part = (place: number): Numbers => place === index ? values : numbersOf(type, parts[place]!)
  const result: Numbers = new types[type]!(values.length)
  result.set(part(0))
  for (let place = 1; place < parts.length; place++) combine(result, part(place), reduction)
  return result as A
}

const combine = (result: Numbers, values: Numbers, reduction: Reduction): void => {
  if (reduction === "sum" && result instanceof Float32Array) return add32(result, values as Float32Array)
  const length = result.length
  switch (reduction) {
    case "sum":
      for (let i = 0; i < length; i++) result[i] = result[i]! + values[i]!
      return
    case "min":
      for (let i = 0; i < length; i++) result[i] = Math.min(result[i]!, values[i]!)
      return
    case "max":
      for (let i = 0; i < length; i++) result[i] = Math.max(result[i]!, values[i]!)
      return
  }
}

/** What a model does: a loop that has seen one type of array runs twice as fast as one that has seen several. */
const add32 = (result: Float32Array, values: Float32Array): void => {
  for (let i = 0; i < result.length; i++) result[i] = result[i]! + values[i]!
}
