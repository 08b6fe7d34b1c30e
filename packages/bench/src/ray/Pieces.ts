/** Pieces of bytes on a stream: each after its length, four bytes of it, the least first. */

/** A piece as it is written. */
export const piece = (bytes: Uint8Array): Buffer => {
  const head = Buffer.alloc(4)
  head.writeUInt32LE(bytes.length)
  return Buffer.concat([head, bytes])
}

/** Takes a stream's chunks as they come and hands on each piece that is whole. */
export const reader = (take: (bytes: Uint8Array) => void): (chunk: Buffer) => void => {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 4) {
      const length = rest.readUInt32LE()
      if (rest.length < 4 + length) return
      take(rest.subarray(4, 4 + length))
      rest = rest.subarray(4 + length)
    }
  }
}
