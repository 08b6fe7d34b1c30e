// The part of the WebAssembly interface that is used here: neither the language's library nor Node's types have it without the DOM's.
/** Memory, modules and instances. */
declare namespace WebAssembly {
  /** Memory that grows in pages of 64 KiB; `initial` is in pages. */
  class Memory {
    constructor(options: { readonly initial: number })
    readonly buffer: ArrayBuffer
    /** Adds pages, detaches the former `buffer`, and returns how many pages there were before. */
    grow(pages: number): number
  }
  /** Compiled code without a memory. */
  interface Module {}
  /** Compiles the bytes of a module, synchronously. */
  const Module: /** `bytes` are a whole module. */ new(bytes: Uint8Array) => Module
  /** A module joined to a memory, synchronously; `exports` has its functions. */
  class Instance {
    constructor(module: Module, imports: { readonly env: { readonly memory: Memory } })
    readonly exports: object
  }
}
