/** A stretch of wire between a worker and its driver: passes bytes on in both directions until it is cut. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

export interface Relay {
  /** Where the worker connects to. */
  readonly port: number
  /** The driver's own port, once it is known; who comes before waits. */
  readonly lead: (to: number) => void
  /** Resets every connection, and refuses new ones for so many milliseconds. */
  readonly cutSocket: (millis: number) => Effect.Effect<void>
}

/** Listens on a port of its own on the loopback address, until the scope closes. */
export const make: Effect.Effect<Relay, never, Scope.Scope> = Effect.gen(function*() {
  const pairs = new Set<readonly [Net.Socket, Net.Socket]>()
  const early: Array<Net.Socket> = []
  let target: number | undefined
  let refuses = 0

  const join = (near: Net.Socket, port: number): void => {
    const far = Net.connect({ host: "127.0.0.1", port, noDelay: true })
    const pair = [near, far] as const
    const part = (): void => {
      pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    pairs.add(pair)
    for (const socket of pair) socket.on("error", part).on("close", part)
    near.pipe(far).pipe(near)
  }
  const sever = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
    pairs.clear()
  }

  const server = Net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {})
    if (refuses > 0) return void socket.resetAndDestroy()
    if (target === undefined) return void early.push(socket)
    join(socket, target)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        sever()
        server.close()
      })
  )
  const { port } = server.address() as Net.AddressInfo
  return {
    port,
    lead: (to) => {
      target = to
      for (const socket of early.splice(0)) join(socket, to)
    },
    cutSocket: (millis) =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          refuses++
          sever()
        }),
        () => Effect.delay(Effect.void, millis),
        () => Effect.sync(() => void refuses--)
      )
  }
})
