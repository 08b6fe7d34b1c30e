/**
 * A bound socket with a lane for each identity that it was told of. An identity is a random word which only the lane's other end knows,
 * sent inside the encrypted connection; whoever comes with another one, or with bytes that are no message, is counted and not answered.
 */
import { QueueError } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { lookup } from "node:dns/promises"
import { mkdtemp, rm } from "node:fs/promises"
import { isIP } from "node:net"
import { join } from "node:path"
import { capability, curveKeyPair, Router } from "zeromq"
import * as Files from "./files.ts"
import { type Absence, closeMessage, isAck, Link } from "./zmqLink.ts"
import { acquire, close, Deadline, read, type Resolved, seconds, socketOptions, watch } from "./zmqSocket.ts"

/** Where a hub is reached; part of every handle. */
export interface Place {
  readonly address: string
  /** Its CURVE public key, which is told to nobody but the holders of a handle; `null` on a socket that is not encrypted. */
  readonly serverKey: string | null
}

export interface LaneOptions {
  readonly deliver: (payload: Buffer) => void
  /** The lane is of no use any more; told once. */
  readonly lost: (issue: string) => void
  /** The other end has closed the lane. */
  readonly closed: (reason: string) => void
  /** The other end says something on the lane that this end has closed. */
  readonly stale?: () => void
}

export interface Hub extends Place {
  /** Opens the lane of an identity. */
  readonly add: (identity: string, options: LaneOptions) => Link
  /** Closes it; whoever still uses it is told why. */
  readonly remove: (identity: string, reason: string) => void
}

interface Lane {
  readonly identity: Buffer
  readonly link: Link
  readonly deadline: Deadline
  readonly stale: (() => void) | undefined
  wasOpen: boolean
}

/** A lane that was closed here. */
interface Closed {
  readonly reason: string
  readonly stale: (() => void) | undefined
}

/** How many closed lanes are remembered, so that a process that still uses one is told. */
const closedKept = 256

/** When the lanes are asked for a sign of life after some connection was lost; ZeroMQ does not say whose it was. */
const probesMillis = [0, 100, 500, 2000]

const fail = (operation: string, where: string, cause: unknown, advice: string) =>
  new QueueError({ operation, where, issue: cause instanceof Error ? cause.message : String(cause), advice })

const bracketed = (host: string): string => isIP(host) === 6 ? `[${host}]` : host

/** 127.0.0.0/8 and ::1. */
const isLoopback = (host: string): boolean => /^127\.|^::1$|^0:0:0:0:0:0:0:1$/.test(host)

const numeric = (host: string): Effect.Effect<string, QueueError> =>
  isIP(host) !== 0 ? Effect.succeed(host) : Effect.tryPromise({
    try: () => lookup(host).then((found) => found.address),
    catch: (cause) => fail("bind", host, cause, "Give an address of this machine")
  })

const bindTcp = Effect.fnUntraced(function*(socket: Router, resolved: Resolved, host: string) {
  const [first, last] = resolved.ports
  if (![first, last].every((port) => Number.isInteger(port) && port >= 0 && port <= 65_535) || last < first) {
    return yield* fail(
      "bind",
      host,
      `the port is ${first === last ? first : `${first} to ${last}`}`,
      "Give whole numbers from 0 to 65535, the first one first"
    )
  }
  const bind = (port: number | string) => {
    const address = `tcp://${bracketed(host)}:${port}`
    return Effect.tryPromise({
      try: () => socket.bind(address),
      catch: (cause) =>
        fail(
          "bind",
          address.replace("*", "0"),
          cause,
          (cause as { code?: string }).code === "EADDRINUSE"
            ? "Stop whoever uses the port, give another one or a range, or leave the choice to the system with port 0"
            : "Give an address of this machine that the workers can reach"
        )
    })
  }
  if (first === 0) return yield* bind("*")
  let tried = bind(first)
  for (let port = first + 1; port <= last; port++) tried = Effect.catch(tried, () => bind(port))
  return yield* tried
})

const bindIpc = Effect.fnUntraced(function*(socket: Router, secret: string) {
  const folder = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () => mkdtemp(join(Files.temporary(), `${Files.socketsPrefix(secret)}-`)),
      catch: (cause) => fail("make a folder in", Files.temporary(), cause, "Let TMPDIR name a folder that can be written")
    }),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )
  const address = `ipc://${join(folder, "queue")}`
  yield* Effect.tryPromise({
    try: () => socket.bind(address),
    catch: (cause) => fail("bind", address, cause, "Let TMPDIR name a folder with a short path that takes sockets")
  })
})

/** Binds a hub; `refused` counts what strangers send, and once it `isSilent` whoever used a lane that is closed hears nothing of that. Closing the scope ends its lanes; who wants the last word to arrive flushes them before. */
export const make: (
  resolved: Resolved,
  secret: string,
  refused: () => void,
  isSilent?: () => boolean
) => Effect.Effect<Hub, QueueError, Scope.Scope> = Effect.fnUntraced(function*(resolved, secret, refused, isSilent) {
  const tcp = resolved.kind === "tcp"
  const host = tcp ? yield* numeric(resolved.host) : ""
  if (tcp && capability.curve !== true && !isLoopback(host)) {
    return yield* new QueueError({
      operation: "bind",
      where: `tcp://${bracketed(host)}`,
      issue: "this build of ZeroMQ cannot encrypt",
      advice: "Use a loopback address, or a platform whose zeromq package has CURVE"
    })
  }
  if (tcp && resolved.advertise === undefined && /^(0\.0\.0\.0|::|0:0:0:0:0:0:0:0)$/.test(host)) {
    return yield* new QueueError({
      operation: "bind",
      where: `tcp://${bracketed(host)}`,
      issue: "every address of this machine, none of which the handles could name",
      advice: "Give the one address that the workers reach, or say which with `advertise`"
    })
  }
  const keys = tcp && capability.curve === true ? curveKeyPair() : undefined
  const lanes = new Map<string, Lane>()
  const closed = new Map<string, Closed>()
  const probes = new Set<NodeJS.Timeout>()

  const socket = yield* acquire("make a socket for", resolved.kind, () =>
    new Router({
      ...socketOptions(resolved),
      mandatory: true,
      handover: true,
      ipv6: isIP(host) === 6,
      ...(keys === undefined ? {} : { curveServer: true, curveSecretKey: keys.secretKey })
    }))
  yield* Effect.addFinalizer(() => {
    for (const probe of probes) clearTimeout(probe)
    return Effect.sync(() => {
      for (const name of lanes.keys()) remove(name, "the other end has closed the queue")
      close(socket)
    })
  })
  yield* Effect.uninterruptible(tcp ? bindTcp(socket, resolved, host) : bindIpc(socket, secret))

  const transmit = (identity: Buffer, head: Uint8Array, body: Uint8Array | undefined, failed: (cause: unknown) => void): void => {
    if (socket.closed) return
    socket.send(body === undefined ? [identity, head] : [identity, head, body]).then(undefined, failed)
  }

  const probe = (): void => {
    for (const { link, wasOpen } of lanes.values()) {
      if (wasOpen) link.probe()
    }
  }

  const add = (name: string, options: LaneOptions): Link => {
    const identity = Buffer.from(name, "latin1")
    const lost = (issue: string) => {
      remove(name, issue)
      options.lost(issue)
    }
    const failed = (cause: unknown) => {
      link.interrupted()
      if ((cause as { code?: string }).code === "EHOSTUNREACH" && lane.wasOpen && lanes.get(name) === lane) lane.deadline.start()
    }
    const link = new Link({
      frames: resolved.frames,
      bytes: resolved.bytes,
      transmit: (head, body) => transmit(identity, head, body, failed),
      deliver: options.deliver,
      connected: () => {
        lane.wasOpen = true
        lane.deadline.stop()
      },
      closed: (reason) => {
        lane.deadline.stop()
        lanes.delete(name)
        options.closed(reason)
      },
      malformed: (issue) => {
        refused()
        lost(issue)
      }
    })
    const lane: Lane = {
      identity,
      link,
      deadline: new Deadline(resolved.deadlineMillis, () => lost(`no connection for ${seconds(resolved.deadlineMillis)}`)),
      stale: options.stale,
      wasOpen: false
    }
    closed.delete(name)
    lanes.set(name, lane)
    // Its other end may have come before.
    link.greet()
    return link
  }

  const remove = (name: string, reason: string): void => {
    const lane = lanes.get(name)
    if (lane === undefined) return
    lanes.delete(name)
    lane.deadline.stop()
    if (isSilent?.() === true) return lane.link.end()
    lane.link.close(reason)
    closed.set(name, { reason, stale: lane.stale })
    if (closed.size > closedKept) closed.delete(closed.keys().next().value!)
  }

  read(socket, (parts) => {
    const name = parts[0]!.toString("latin1")
    const head = parts[1]!
    // ZeroMQ sends an empty message first on every new connection.
    const isNew = head.length === 0 && parts.length === 2
    const lane = lanes.get(name)
    if (lane !== undefined) {
      if (isNew) lane.link.greet()
      else if (parts.length <= 3) lane.link.receive(head, parts[2])
      else lane.link.malformed(`a message of ${parts.length} parts`)
      return
    }
    const former = closed.get(name)
    if (!isNew) former?.stale?.()
    if (former !== undefined && isAck(head)) return
    if (former !== undefined) transmit(parts[0]!, closeMessage(former.reason), undefined, ignore)
    if (!isNew) refused()
  })
  yield* watch(socket, resolved.kind, (event) => {
    if (event.type.startsWith("handshake:error")) refused()
    if (event.type !== "disconnect") return
    for (const pending of probes) clearTimeout(pending)
    probes.clear()
    for (const millis of probesMillis) {
      const timer = setTimeout(() => {
        probes.delete(timer)
        probe()
      }, millis)
      timer.unref()
      probes.add(timer)
    }
  })

  const bound = socket.lastEndpoint ?? ""
  const address = resolved.advertise === undefined
    ? bound
    : `tcp://${bracketed(resolved.advertise)}:${bound.slice(bound.lastIndexOf(":") + 1)}`
  return { address, serverKey: keys?.publicKey ?? null, add, remove }
})

const ignore = () => {}

/** Says to the other ends, after everything sent before, that nothing follows, and waits until those that are not absent know it. */
export const finish = (links: Iterable<Link>, reason: string, millis: number, unless: Absence): Effect.Effect<void> =>
  Effect.suspend(() => {
    for (const link of links) link.finish(reason)
    return flush(links, millis, unless)
  })

/** Waits until the other ends have everything that was sent to them, for a bounded time and not for those that are absent. */
export const flush = (links: Iterable<Link>, millis: number, unless: Absence): Effect.Effect<void> =>
  Effect.callback((resume) => {
    let waiting = 1
    const timer = setTimeout(() => resume(Effect.void), millis)
    const one = () => {
      if (--waiting > 0) return
      clearTimeout(timer)
      resume(Effect.void)
    }
    for (const link of links) {
      waiting++
      link.whenIdle(one, unless)
    }
    one()
  })
