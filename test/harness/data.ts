/** Whether two values are the same plain data: of the same kinds, in the same order, nothing else. */
export const same = (a: unknown, b: unknown): boolean => {
  if (typeof a !== "object" || a === null || typeof b !== "object" || b === null) return Object.is(a, b)
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  if (a instanceof Uint8Array) return Buffer.compare(a, b as Uint8Array) === 0
  const keys = Reflect.ownKeys(a)
  const others = Reflect.ownKeys(b)
  return keys.length === others.length && keys.every((key) => Object.hasOwn(b, key) && same((a as any)[key], (b as any)[key]))
}

/** Whether a value is plain data: nothing in it has a prototype of its own kind, a hole, a cycle, or more depth than this. */
export const isPlain = (value: unknown, depth = 256): boolean => {
  switch (typeof value) {
    case "bigint":
    case "function":
    case "symbol":
      return false
    case "object":
      break
    default:
      return true
  }
  if (value === null) return true
  const prototype = Object.getPrototypeOf(value)
  if (prototype === Uint8Array.prototype) return true
  if (depth === 0 || (prototype !== Array.prototype && prototype !== Object.prototype)) return false
  if (Array.isArray(value)) {
    return Object.keys(value).length === value.length && value.every((item) => isPlain(item, depth - 1))
  }
  return Reflect.ownKeys(value).every((key) => typeof key === "string" && isPlain((value as any)[key], depth - 1))
}

/** The part of a value that another one has, too: what a schema does not know it leaves out. */
export const known = (text: any, value: any): unknown => {
  if (Array.isArray(text)) return text.map((item, index) => known(item, value[index]))
  if (typeof text !== "object" || text === null || text instanceof Uint8Array) return text
  return Object.fromEntries(Object.keys(value).map((key) => [key, known(text[key], value[key])]))
}
