// The part of the WebAssembly interface that is used here: neither the language's library nor Node's types have it without the DOM's.
declare namespace WebAssembly {
  class Memory {
    constructor(options: { readonly initial: number })
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  interface Module {}
  const Module: new(bytes: Uint8Array) => Module
  class Instance {
    constructor(module: Module, imports: { readonly env: { readonly memory: Memory } })
    readonly exports: object
  }
}
