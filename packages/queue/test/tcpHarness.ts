/**
 * What the tests of ZeroMQ queues do: open a group, attach a rank here or in a process of its own, put a wire between that can be cut, and
 * wait until something holds.
 */
import { type Frame, type Handle, MessageQueues, type Publisher, type Subscriber } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { type ChildProcess, fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { connect, createServer, type Socket } from "node:net"

/** Waits until it holds; dies with the sentence after 15 seconds. */
export const until = (sentence: string, holds: () => boolean): Effect.Effect<void> =>
  Effect.sync(holds).pipe(
    Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("2 millis") }),
    Effect.timeoutOrElse({ duration: "15 seconds", orElse: () => Effect.die(new Error(`in 15 seconds never: ${sentence}`)) }),
    Effect.asVoid
  )

export interface Group {
  readonly publisher: Publisher
  /** What each rank has sent, in order. */
  readonly heard: (rank: number) => Array<Frame>
  readonly lost: Array<readonly [rank: number, issue: string]>
  readonly publish: (frame: Frame, ...ranks: Array<number>) => void
  /** Hears frames instead of `heard`. */
  onFrame: ((rank: number, frame: Frame) => void) | undefined
}

/** This process's own: whoever ends a group on Unix sockets removes all that its secret names. */
export const secret = randomBytes(16).toString("hex")

export const openGroup = Effect.gen(function*() {
  const queues = yield* MessageQueues
  const frames = new Map<number, Array<Frame>>()
  const heard = (rank: number): Array<Frame> => {
    const list = frames.get(rank) ?? []
    frames.set(rank, list)
    return list
  }
  const lost: Array<readonly [number, string]> = []
  const publisher = yield* queues.open({
    group: "test",
    secret,
    ranks: 8,
    receive: (rank, frame) => group.onFrame === undefined ? void heard(rank).push(frame) : group.onFrame(rank, frame),
    lost: (rank, issue) => lost.push([rank, issue])
  })
  const group: Group = {
    publisher,
    heard,
    lost,
    publish: (frame, ...ranks) => publisher.publish(publisher.pack(frame), ranks),
    onFrame: undefined
  }
  return group
})

export interface Rank {
  readonly subscriber: Subscriber
  readonly frames: Array<Frame>
  readonly lost: Array<string>
}

/** Attaches a rank in this process. */
export const attach = Effect.fnUntraced(function*(handle: Handle, receive?: (frame: Frame, subscriber: () => Subscriber) => void) {
  const queues = yield* MessageQueues
  const frames: Array<Frame> = []
  const lost: Array<string> = []
  const subscriber: Subscriber = yield* queues.attach(handle, {
    receive: (frame) => receive === undefined ? void frames.push(frame) : receive(frame, () => subscriber),
    lost: (issue) => lost.push(issue)
  })
  const rank: Rank = { subscriber, frames, lost }
  return rank
})

/** Starts `fixtures/tcpWorker.ts` as a rank and waits until it has attached. It ends with the scope. */
export const startRank = Effect.fnUntraced(function*(group: Group, rank: number) {
  const handle = yield* group.publisher.connect(rank, 1)
  const child = yield* Effect.acquireRelease(
    Effect.sync((): ChildProcess => fork(new URL("./fixtures/tcpWorker.ts", import.meta.url), { serialization: "advanced" })),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  child.send(handle)
  yield* until(`rank ${rank} is ready`, () => group.heard(rank).length > 0)
  group.heard(rank).length = 0
  return child
})

const endpoint = (handle: Handle): { readonly host: string; readonly port: number } => {
  const { hostname, port } = new URL((handle.data as { address: string }).address.replace("tcp:", "http:"))
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) }
}

export const portOf = (handle: Handle): number => endpoint(handle).port

/** A wire of TCP between a rank and its driver. */
export const wire = Effect.fnUntraced(function*(handle: Handle) {
  const target = endpoint(handle)
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((near) => {
    connections++
    const far = connect(target.port, target.host)
    for (const [one, other] of [[near, far], [far, near]] as const) {
      sockets.add(one)
      one.pipe(other)
      one.on("error", () => other.destroy())
      one.on("close", () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  })
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        cut()
        server.close()
      })
  )
  const { port } = server.address() as { port: number }
  return {
    /** The handle by way of this wire. */
    handle: { transport: handle.transport, data: { ...(handle.data as object), address: `tcp://127.0.0.1:${port}` } } as Handle,
    connections: () => connections,
    /** Ends every connection, as a network does; new ones are accepted. */
    cut,
    /** Lets nothing more pass on the connections that there are, and keeps them, as a machine does that lost its power. */
    silence: () => {
      for (const socket of sockets) socket.pause()
    },
    /** Ends every connection and accepts no other. */
    tear: () => {
      server.close()
      cut()
    }
  }
})
