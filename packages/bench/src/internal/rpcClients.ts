/** What the two ways of `effect/rpc` have in common: a client for each worker, and calls to all at once. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Scope from "effect/Scope"
import { group } from "../../rivals/rpc.mjs"
import { effects } from "../Sampling.ts"
import { buffer, type Setting, small, text } from "../System.ts"

export const startClients = async (
  { bytes, workers }: Setting,
  protocol: (index: number) => Layer.Layer<RpcClient.Protocol, unknown>
) => {
  const scope = Scope.makeUnsafe()
  const connect = Effect.fnUntraced(function*(index: number) {
    const context = yield* Layer.buildWithScope(Layer.fresh(protocol(index)), scope)
    const client = yield* RpcClient.make(group, { disableTracing: true }).pipe(Effect.provideContext(context), Scope.provide(scope))
    yield* client.s({ x: "x" })
    return client
  })
  const clients = await Effect.runPromise(
    Effect.forEach(Array.from({ length: workers }, (_, index) => index), connect, { concurrency: "unbounded" })
  )
  const short = bytes <= small
  const string = text(short ? bytes : 0)
  const array: Uint8Array<ArrayBuffer> = new Uint8Array(buffer(short ? 0 : bytes))
  const call = Effect.forEach(clients, (client) => short ? client.s({ x: string }) : client.f({ x: array }), { concurrency: "unbounded" })
  return {
    sample: effects(workers, bytes, call, Effect.runPromise),
    hang: () => Effect.runPromise(Effect.asVoid(Effect.exit(clients[0]!.hang()))),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
