/**
 * A connecting socket with the one lane that its identity opens on a hub. It connects again by itself whenever the connection is lost.
 */
import type { QueueError } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { curveKeyPair, Dealer } from "zeromq"
import { flush, type LaneOptions, type Place } from "./zmqHub.ts"
import { Link } from "./zmqLink.ts"
import { acquire, close, Deadline, read, type Resolved, seconds, socketOptions, watch } from "./zmqSocket.ts"

export interface SpokeOptions extends Omit<LaneOptions, "lost"> {
  readonly place: Place
  readonly identity: string
  /** The lane is of no use any more; `broken`: for want of a connection. */
  readonly lost: (issue: string, broken: boolean) => void
  /** The hub knows this identity and has answered. Called again after every reconnection. */
  readonly ready: () => void
}

/** Connects. `lost` is told once, after which the socket is closed. Closing the scope sends what the lane holds, for a bounded time. */
export const make: (
  resolved: Resolved,
  options: SpokeOptions
) => Effect.Effect<Link, QueueError, Scope.Scope> = Effect.fnUntraced(function*(resolved, options) {
  const { address, serverKey } = options.place
  const curve = serverKey === null ? undefined : curveKeyPair()
  const socket = yield* acquire("make a socket for", address, () =>
    new Dealer({
      ...socketOptions(resolved),
      // A fresh pipe a connection, which begins with an empty message: the hub hears of every reconnection before anything else.
      immediate: true,
      probeRouter: true,
      routingId: options.identity,
      reconnectInterval: 20,
      reconnectMaxInterval: 500,
      ipv6: address.includes("["),
      ...(curve === undefined || serverKey === null
        ? {}
        : { curveServerKey: serverKey, curvePublicKey: curve.publicKey, curveSecretKey: curve.secretKey })
    }))
  const end = () => {
    deadline.stop()
    link.end()
    close(socket)
  }
  const lost = (issue: string, broken: boolean) => {
    end()
    options.lost(issue, broken)
  }
  const deadline = new Deadline(
    resolved.deadlineMillis,
    () => lost(`no connection to ${address} for ${seconds(resolved.deadlineMillis)}`, true)
  )
  const unreachable = () => link.interrupted()
  const link: Link = new Link({
    frames: resolved.frames,
    bytes: resolved.bytes,
    transmit: (head, body) => {
      if (!socket.closed) socket.send(body === undefined ? head : [head, body]).then(undefined, unreachable)
    },
    deliver: options.deliver,
    connected: options.ready,
    closed: (reason) => {
      end()
      options.closed(reason)
    },
    malformed: (issue) => lost(issue, false)
  })
  yield* Effect.addFinalizer(() => Effect.andThen(flush([link], resolved.flushMillis, "lost"), Effect.sync(end)))
  deadline.start()
  yield* watch(socket, address, (event) => {
    if (event.type === "handshake") deadline.stop()
    // The lane itself hears of it from the next connection: this news may be older than that.
    if (event.type === "disconnect") deadline.start()
  })
  read(socket, (parts) => {
    if (parts.length > 2) return link.malformed(`a message of ${parts.length} parts`)
    link.receive(parts[0]!, parts[1])
  })
  yield* acquire("connect to", address, () => socket.connect(address))
  return link
})
