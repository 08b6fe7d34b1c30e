/**
 * Client middleware of a protocol, on the driver: what it makes of a request's headers goes to every rank, what it fails with is the answer of every
 * rank. It runs once a call, before anything is sent, and sees neither payload nor reply, since a call may have one of each for every rank.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type { Request } from "effect/rpc/RpcMessage"
import type { RpcMiddlewareClient } from "effect/rpc/RpcMiddleware"
import { CallRejected } from "../WorkerError.ts"

type Send = (request: Request<Rpc.Any>) => Effect.Effect<any, any>

/** The headers that a call of `rpc` carries. */
export const headers = (rpc: Rpc.AnyWithProps, services: Context.Context<never>): Effect.Effect<Headers.Headers, unknown> | undefined => {
  const middlewares = [...rpc.middlewares.values()].flatMap((tag): Array<RpcMiddlewareClient<any, any, never>> => {
    const middleware = services.mapUnsafe.get(`${tag.key}/Client`)
    return middleware === undefined ? [] : [middleware]
  })
  if (middlewares.length === 0) return undefined
  return Effect.flatMap(RpcClient.CurrentHeaders, (current) => {
    let sent: Headers.Headers | undefined
    const send = middlewares.reduce<Send>(
      (next, middleware) => (request) => middleware({ rpc, request, next: next as any }),
      (request) => Effect.sync(() => void (sent = request.headers))
    )
    const request: Request<Rpc.Any> = {
      _tag: "Request",
      id: "0" as any,
      tag: rpc._tag as never,
      payload: undefined as never,
      headers: current
    }
    return Effect.flatMap(send(request), () =>
      sent === undefined
        ? Effect.fail(new CallRejected({ side: "driver", issue: "client middleware did not pass the request on" }))
        : Effect.succeed(sent))
  })
}
