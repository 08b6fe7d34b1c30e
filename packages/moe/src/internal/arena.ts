/** Bytes of WebAssembly memory, handed out from the front and never given back: what comes and goes is kept in pools by its users. */
export interface Arena {
  readonly memory: WebAssembly.Memory
  /** Views of the whole memory. Growing detaches them, so they are asked for at each use. */
  readonly bytes: () => Uint8Array
  readonly floats: () => Float32Array
  readonly words: () => Int32Array
  /** The offset of so many zeroed bytes, a multiple of 64. */
  readonly allocate: (bytes: number) => number
}

const page = 65536

export const make = (): Arena => {
  const memory = new WebAssembly.Memory({ initial: 1 })
  let next = 1024
  const view = <A extends ArrayBufferView>(make: (buffer: ArrayBuffer) => A) => {
    let current = make(memory.buffer)
    return () => {
      if (current.buffer !== memory.buffer) current = make(memory.buffer)
      return current
    }
  }
  return {
    memory,
    bytes: view((buffer) => new Uint8Array(buffer)),
    floats: view((buffer) => new Float32Array(buffer)),
    words: view((buffer) => new Int32Array(buffer)),
    allocate: (bytes) => {
      const at = next
      next += (bytes + 63) & ~63
      const missing = next - memory.buffer.byteLength
      if (missing > 0) memory.grow(Math.ceil(missing / page))
      return at
    }
  }
}

/** Pieces of one size: those given back are used again before new ones are allocated. */
export interface Pool {
  readonly take: () => number
  readonly give: (at: number) => void
  readonly used: () => number
  /** Pieces that there are, given back or not. */
  readonly size: () => number
}

export const pool = (arena: Arena, bytes: number): Pool => {
  const free: Array<number> = []
  let used = 0
  let size = 0
  return {
    take: () => {
      used++
      const again = free.pop()
      if (again !== undefined) return again
      size++
      return arena.allocate(bytes)
    },
    give: (at) => {
      used--
      free.push(at)
    },
    used: () => used,
    size: () => size
  }
}
