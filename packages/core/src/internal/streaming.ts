/**
 * What serves streams and methods with middleware: Effect's `RpcServer`. It loads a quarter of Effect, HTTP included, of which most workers need nothing, so a process
 * imports it when its protocol has such methods; where workers are fibers it is there from the first, for virtual time does not wait for an import.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as RpcServer from "effect/rpc/RpcServer"

export type Streaming = Pick<typeof RpcServer, "makeNoSerialization">

export const Streaming = Context.Reference<Effect.Effect<Streaming>>("@phalanx/core/Streaming", {
  defaultValue: () => Effect.promise(() => import("effect/rpc/RpcServer"))
})
