/**
 * What the bound and the connecting sockets have in common: how they read, what they hear about their connections, how they end.
 */
import { QueueError } from "@phalanx/core/MessageQueues"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Dealer, Event, Observer, Router } from "zeromq"

/** Settings of every socket of one layer, with every default applied. */
export interface Resolved {
  readonly kind: "tcp" | "ipc"
  readonly host: string
  readonly ports: readonly [number, number]
  readonly advertise: string | undefined
  readonly frames: number
  readonly bytes: number
  readonly deadlineMillis: number
  readonly flushMillis: number
}

/** Options of both kinds of socket. `sendTimeout` 0 makes `send` hand over the message, or refuse it, before it returns. */
export const socketOptions = (resolved: Resolved) => ({
  linger: 0,
  sendTimeout: 0,
  // A link keeps at most `frames` messages under way; beside them go acknowledgements, and ZeroMQ counts what is read in halves.
  sendHighWaterMark: resolved.frames * 4 + 256,
  receiveHighWaterMark: resolved.frames * 4 + 256,
  // Links send parts of at most 1 MiB.
  maxMessageSize: 2 << 20,
  handshakeInterval: 5000,
  heartbeatInterval: 1000,
  heartbeatTimeout: 4000
})

/** How long a closed socket may go on sending what it was given last: the news that it closes. */
const lingerMillis = 100

/** Messages, and milliseconds in their receivers, after which other sockets of the process get their turn. */
const turnMessages = 32
const turnMillis = 1

/** What was there to be received may have gone with its connection: then whoever waited for it waits on. Any other failure is the end. */
const isNothing = (cause: unknown): boolean => (cause as { readonly code?: string }).code === "EAGAIN"

/** Reads until the socket is closed. A turn is short, so that a socket full of requests never keeps one with control frames waiting. */
export const read = (socket: Router | Dealer, receive: (parts: Array<Buffer>) => void): void => {
  let messages = 0
  let millis = 0
  const failed = (cause: unknown): void => {
    if (isNothing(cause)) next()
  }
  const next = (): void => {
    if (!socket.closed) socket.receive().then(got as (parts: Array<object>) => void, failed)
  }
  const nextTurn = (): void => {
    messages = 0
    millis = 0
    next()
  }
  const got = (parts: Array<Buffer>): void => {
    const start = performance.now()
    receive(parts)
    millis += performance.now() - start
    if (++messages < turnMessages && millis < turnMillis) return next()
    setImmediate(nextTurn)
  }
  next()
}

/** Hears of connections made and lost until the socket is closed. */
export const watch = (socket: Router | Dealer, where: string, hear: (event: Event) => void): Effect.Effect<void, QueueError> =>
  Effect.map(acquire("watch a socket for", where, () => socket.events), (events) => listen(events, hear))

const listen = (events: Observer, hear: (event: Event) => void): void => {
  const failed = (cause: unknown): void => {
    if (isNothing(cause)) next()
  }
  const next = (): void => {
    if (!events.closed) events.receive().then(got, failed)
  }
  const got = (event: Event): void => {
    if (event.type === "end") return
    hear(event)
    next()
  }
  next()
}

/** Closes it at once. The observer closes itself when it hears of that; closed by hand it would leave its end of the monitor open. */
export const close = (socket: Router | Dealer): void => {
  if (socket.closed) return
  socket.linger = lingerMillis
  socket.close()
}

/**
 * Runs `gone` when a connection has been down for the deadline. A process that was busy or frozen meanwhile hears its sockets once more
 * before it decides: its connection may have come back long ago.
 */
export class Deadline {
  private timer: NodeJS.Timeout | undefined
  private readonly millis: number
  private readonly gone: () => void

  constructor(millis: number, gone: () => void) {
    this.millis = millis
    this.gone = gone
  }

  start(): void {
    this.timer ??= setTimeout(() => {
      this.timer = setTimeout(this.gone, 100)
    }, this.millis)
  }

  stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }
}

/** Makes something of sockets, which fails if the process has too many files open. */
export const acquire = <A>(operation: string, where: string, make: () => A): Effect.Effect<A, QueueError> =>
  Effect.try({
    try: make,
    catch: (cause) =>
      new QueueError({
        operation,
        where,
        issue: cause instanceof Error ? cause.message : String(cause),
        advice: "See that the address is complete, raise the limit of open files, or close queues that are not used any more"
      })
  })

/** A duration as people read it. */
export const seconds = (millis: number): string => Duration.format(Duration.millis(millis))
