/**
 * What a frame may hold, as a value and as MessagePack. The library between the two knows more than plain data (dates, sets, regular expressions,
 * errors, references that make cycles), turns some of it into what it is not, and goes as deep as the stack allows.
 */

/** How deep arrays and maps may lie in each other. */
export const maxDepth = 256

const tooDeep = `more than ${maxDepth} arrays and records in each other`
const protoKey = "a key __proto__"
const cutShort = "the bytes end in the middle of it"

const nil = 0xc0
/** `__proto__`, as the bytes of a key. */
const forbidden = [0x5f, 0x5f, 0x70, 0x72, 0x6f, 0x74, 0x6f, 0x5f, 0x5f]

// Of every container that is open: how many items follow in it, and whether every other one of them is a key.
const left = new Float64Array(maxDepth + 1)
const maps = new Uint8Array(maxDepth + 1)

const isForbidden = (bytes: Uint8Array, at: number, length: number): boolean =>
  length === forbidden.length && forbidden.every((byte, index) => bytes[at + index] === byte)

const u16 = (bytes: Uint8Array, at: number): number => bytes[at]! << 8 | bytes[at + 1]!
const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x10000 + u16(bytes, at + 2)

/** Whether the 64-bit integer at `at` is one that a number holds exactly. */
const isSafe = (bytes: Uint8Array, at: number, signed: boolean): boolean => {
  const high = u32(bytes, at)
  if (high < 0x200000) return true
  return signed && (high > 0xffe00000 || (high === 0xffe00000 && u32(bytes, at + 4) > 0))
}

/** Why a value is not plain data; `undefined` if it is. */
export const issueWith = (value: unknown, depth = 0): string | undefined => {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
    case "undefined":
      return undefined
    case "object":
      break
    default:
      return typeof value
  }
  if (value === null || value instanceof Uint8Array) return undefined
  if (depth === maxDepth) return tooDeep
  if (Array.isArray(value)) {
    for (const item of value) {
      const issue = issueWith(item, depth + 1)
      if (issue !== undefined) return issue
    }
    return undefined
  }
  if (value.constructor !== Object) {
    const kind = Object.prototype.toString.call(value)
    if (kind !== "[object Object]") return kind.slice("[object ".length, -1)
  }
  for (const key in value) {
    if (key === "__proto__") return protoKey
    const issue = issueWith((value as Record<string, unknown>)[key], depth + 1)
    if (issue !== undefined) return issue
  }
  return undefined
}

/** Why the first `length` of `bytes` are not exactly one array of plain data; `undefined` if they are. */
export const issueOf = (bytes: Uint8Array, length: number): string | undefined => {
  if (length === 0 || !((bytes[0]! >= 0x90 && bytes[0]! < 0xa0) || bytes[0] === 0xdc || bytes[0] === 0xdd)) return "no array"
  let at = 0
  let depth = 0
  left[0] = 1
  maps[0] = 0
  for (;;) {
    if (left[depth] === 0) {
      if (depth === 0) return at === length ? undefined : `${length - at} bytes after its end`
      depth--
      continue
    }
    if (at >= length) return cutShort
    const isKey = maps[depth] === 1 && left[depth]! % 2 === 0
    left[depth]!--
    const token = bytes[at++]!
    // Bytes that follow, and items that follow in a container of its own; −1 if it is none.
    let skip = 0
    let items = -1
    let isText = false
    if (token < 0x80 || token >= 0xe0) { /* a small integer */ }
    else if (token < 0x90) items = (token & 15) * 2
    else if (token < 0xa0) items = token & 15
    else if (token < 0xc0) {
      isText = true
      skip = token & 31
    } else {
      // Reading past the end gives zeros, and the length that follows is compared with what is there.
      switch (token) {
        case nil:
        case 0xc2:
        case 0xc3:
          break
        case 0xc4:
          skip = 1 + bytes[at]!
          break
        case 0xc5:
          skip = 2 + u16(bytes, at)
          break
        case 0xc6:
          skip = 4 + u32(bytes, at)
          break
        case 0xcc:
        case 0xd0:
          skip = 1
          break
        case 0xcd:
        case 0xd1:
          skip = 2
          break
        case 0xca:
        case 0xce:
        case 0xd2:
          skip = 4
          break
        case 0xcb:
          skip = 8
          break
        case 0xcf:
        case 0xd3:
          if (at + 8 <= length && !isSafe(bytes, at, token === 0xd3)) return "an integer that no number holds"
          skip = 8
          break
        case 0xd4:
          // Undefined; no other extension is plain data.
          if (bytes[at] !== 0 || bytes[at + 1] !== 0) return "an extension"
          skip = 2
          break
        case 0xd9:
        case 0xda:
        case 0xdb: {
          const size = token === 0xd9 ? 1 : token === 0xda ? 2 : 4
          if (at + size > length) return cutShort
          isText = true
          skip = size === 1 ? bytes[at]! : size === 2 ? u16(bytes, at) : u32(bytes, at)
          at += size
          break
        }
        case 0xdc:
        case 0xde:
          items = u16(bytes, at) * (token === 0xde ? 2 : 1)
          at += 2
          break
        case 0xdd:
        case 0xdf:
          items = u32(bytes, at) * (token === 0xdf ? 2 : 1)
          at += 4
          break
        default:
          return token === 0xc1 ? "a byte that MessagePack never uses" : "an extension"
      }
    }
    if (!(at + skip <= length)) return cutShort
    if (isKey && (!isText || isForbidden(bytes, at, skip))) return isText ? protoKey : "a key that is no string"
    at += skip
    if (items < 0) continue
    // Each item takes a byte at least.
    if (!(items <= length - at)) return cutShort
    if (depth === maxDepth) return tooDeep
    depth++
    left[depth] = items
    maps[depth] = token < 0x90 || token >= 0xde ? 1 : 0
  }
}
