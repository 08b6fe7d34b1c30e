/** The systems by the names that results give them. */

const of = (file: string): URL => new URL(`./systems/${file}.ts`, import.meta.url)

/** Name → its module. */
export const modules = {
  phalanx: of("Phalanx"),
  "phalanx-queue": of("PhalanxQueue"),
  "phalanx-model": of("PhalanxModel"),
  "fork-ipc": of("ForkIpc"),
  "effect-rpc": of("EffectRpc"),
  "effect-rpc-socket": of("EffectRpcSocket"),
  piscina: of("PiscinaPool"),
  threads: of("Threads"),
  zeromq: of("ZeroMq"),
  pipe: of("Pipe"),
  "exit-event": of("ExitEvent")
}
/** A system's name in results. */
export type Name = keyof typeof modules

/** Those that answer typed or untyped calls of many workers, Phalanx first. */
export const callable: ReadonlyArray<Name> = ["phalanx", "fork-ipc", "effect-rpc", "effect-rpc-socket", "piscina", "threads", "zeromq"]

/** Those whose workers are processes. */
export const processes: ReadonlyArray<Name> = ["phalanx", "fork-ipc", "effect-rpc", "effect-rpc-socket", "zeromq"]
