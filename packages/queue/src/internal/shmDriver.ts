/**
 * The driver's end of a group in shared memory: the request ring in a segment of the group, and one segment for each incarnation of a rank
 * with its lanes, so that a former incarnation that still runs writes and reads where nobody else does.
 */
import type { Frame, Handle, Packed, Publisher, PublisherOptions } from "@phalanx/core/MessageQueues"
import type { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Bell from "./bell.ts"
import * as Codec from "./codec.ts"
import { Bed } from "./doorbell.ts"
import { Encoder } from "./encoder.ts"
import * as Files from "./files.ts"
import { Host } from "./host.ts"
import * as Layout from "./layout.ts"
import type { Memory } from "./memory.ts"
import type { Source } from "./poller.ts"
import { Requests } from "./requests.ts"
import { Assembly, Reader } from "./ring.ts"
import { batch, frameLimit, groupBytes, keptFrame, laneSizes, type Resolved, spinWith } from "./shmOptions.ts"
import { Writer } from "./writer.ts"

const lostReader = "a position in its lanes that no worker of this version writes"

/** How long a rank may keep the request ring full, in milliseconds. */
const patience = 50

const now = (): number => performance.now()

/**
 * For how many of the replies that are awaited to sleep: half of them are taken in while the other ranks are at work, so that little is left to do when the last one comes. On two
 * processors a fan-out to four or eight takes a tenth less time so than if the last one alone rang.
 */
const enough = (awaited: number): number => awaited <= 2 ? Math.max(1, awaited) : Math.ceil(awaited / 2)

/** Byte arrays from this length on go from the caller's memory straight into the ring. */
const lent = 0x8000

/** A frame that lies where the next one will be encoded, and in the caller's byte arrays, until it is kept. */
class ShmPacked implements Packed {
  readonly bytes: number
  data: Uint8Array
  length: number
  more: ReadonlyArray<Uint8Array>
  private shared = true

  constructor({ bytes, length, more }: Encoder) {
    this.data = bytes
    this.length = length
    this.more = more
    this.bytes = more.reduce((sum, part) => sum + part.length, length)
  }

  /** All of it, in memory of its own. */
  keep(): Uint8Array {
    if (!this.shared) return this.data
    this.shared = false
    const { bytes, data, length, more } = this
    const own = new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)
    own.set(data.subarray(0, length))
    let at = length
    for (const part of more) {
      own.set(part, at)
      at += part.length
    }
    this.length = bytes
    this.more = []
    return this.data = own
  }
}

interface Connection {
  readonly rank: number
  readonly incarnation: number
  readonly memory: Memory
  readonly scope: Scope.Closeable
  readonly control: Writer
  readonly private: Writer
  readonly replies: Reader
  readonly ringer: Bell.LazyRinger
  open: boolean
  /** Its worker's process is known to be gone. */
  ended: boolean
}

const waitsInVain = (writer: Writer): boolean => writer.waiting.length > 0 && writer.readers.some((reading) => writer.isLost(reading))

const writerOf = (lane: Layout.Lane): Writer => new Writer(lane.ring, lane.consumed)

export const open = Effect.fnUntraced(function*(layer: Resolved, options: PublisherOptions) {
  const { folder } = layer
  const host = yield* Host
  const { machine, pid, poller } = host
  const prefix = Files.prefix(options.group, options.secret)
  const sizes = laneSizes(layer)
  const bytes = Layout.group.bytes(layer.ringBytes)
  yield* machine.reserve("open queues", folder, groupBytes(layer, options.ranks))
  // Closed last: whatever killed workers have left behind.
  yield* machine.sweepAtEnd(folder, prefix, options.replaced)

  const ringName = Files.name(prefix)
  const memory = yield* machine.create(folder, ringName, bytes)
  Layout.sign(memory, [options.ranks, layer.ringBytes])
  const bell = yield* Bell.acquire(host, folder, prefix)
  const sleep = new Bed({ memory, index: Layout.group.driverParked })
  const connections = new Map<number, Connection>()
  /** Closed ones whose workers may still run: they were frozen, or are about to be killed. */
  const strays = new Set<Connection>()
  const requests = new Requests(
    Layout.group.ring(memory, layer.ringBytes, options.ranks),
    patience,
    (rank) => lose(connections.get(rank)!, lostReader)
  )
  let timer: NodeJS.Timeout | undefined
  /** Its workers are another driver's then: a goodbye would end them. */
  const isReplaced = (): boolean => options.replaced?.() === true

  const countProcesses = () => memory.store(Layout.group.processes, connections.size + 1)

  /** Removes what a worker that was killed has left: its doorbell, its lanes to other ranks. One that is a fiber of this process has left nothing. */
  const tidy = ({ memory }: Connection): void => {
    const owner = isReplaced() ? 0 : memory.load(Layout.rank.pid)
    if (owner !== 0 && owner !== pid) machine.sweepOf(folder, prefix, owner)
  }

  const close = (connection: Connection, state: number): void => {
    if (!connection.open) return
    connection.open = false
    connections.delete(connection.rank)
    requests.disconnect(connection.rank)
    countProcesses()
    if (connection.ended) tidy(connection)
    else if (connection.memory.load(Layout.rank.pid) !== 0) strays.add(connection)
    if (!isReplaced()) {
      connection.memory.store(Layout.rank.state, state)
      connection.ringer.wake()
    }
    connection.ringer.close()
    // It may have kept room that others wait for, and it may have died between taking this process's parked word and ringing.
    poller.look()
    Effect.runFork(Scope.close(connection.scope, Exit.void))
  }

  const flushRequests = (): void => {
    const time = now()
    requests.flush(time)
    const due = requests.due(time)
    if (due === undefined) clearTimeout(timer)
    else if (timer === undefined) timer = setTimeout(onTimer, due)
    if (due === undefined) timer = undefined
    for (const connection of connections.values()) connection.ringer.wake()
  }
  const onTimer = (): void => {
    timer = undefined
    flushRequests()
  }

  const lose = (connection: Connection, issue: string): void => {
    close(connection, Layout.State.closed)
    options.lost(connection.rank, issue)
  }

  /** What waits for a reader that cannot be where it says would wait for ever. */
  const isLost = ({ control, private: privately }: Connection): boolean => waitsInVain(control) || waitsInVain(privately)

  const receive = (connection: Connection): boolean => {
    const { replies } = connection
    // Before looking, so that what a rank has said is heard before it has left.
    const left = connection.memory.load(Layout.rank.state) === Layout.State.left
    let worked = false
    for (let count = 0; count < batch && connection.open; count++) {
      const taken = replies.take()
      if (taken === "empty") break
      worked = true
      if (taken === "part") break
      if (taken !== "frame") {
        lose(connection, "bytes on its reply lane that no worker of this version writes")
        break
      }
      let frame: Frame
      try {
        const { assembly } = replies
        frame = assembly.isApart() ? Codec.unpackOwn(assembly.own()) : Codec.unpack(assembly.bytes, assembly.length)
      } catch (cause) {
        lose(connection, `a reply that is not MessagePack: ${(cause as Error).message}`)
        break
      }
      options.receive(connection.rank, frame)
    }
    if (worked && connection.memory.load(replies.ring.geometry.wantsRoom) !== 0) connection.ringer.wake()
    if (!worked && left) close(connection, Layout.State.left)
    return worked
  }

  /** Counts what a stray says. */
  const overhear = (stray: Connection): boolean => {
    let worked = false
    for (let taken = stray.replies.take(); taken !== "empty"; taken = stray.replies.take()) {
      worked = true
      if (taken === "frame") options.fenced?.(stray.rank)
      else if (taken !== "part") return strays.delete(stray)
    }
    return worked
  }

  const source: Source = {
    poll: () => {
      let worked = false
      for (const stray of strays) if (overhear(stray)) worked = true
      for (const connection of connections.values()) {
        if (receive(connection)) worked = true
        if (isLost(connection)) lose(connection, lostReader)
        if (connection.control.ready() || connection.private.ready()) {
          connection.control.flush()
          connection.private.flush()
          connection.ringer.wake()
          worked = true
        }
      }
      if (requests.ready()) {
        flushRequests()
        worked = true
      }
      return worked
    },
    ready: () => {
      for (const connection of connections.values()) {
        if (connection.replies.ready() || connection.control.ready() || connection.private.ready()) return true
        if (connection.memory.load(Layout.rank.state) === Layout.State.left) return true
      }
      for (const stray of strays) if (stray.replies.ready()) return true
      return requests.ready()
    },
    // A fan-out needs a reply from each rank, and not each of them rings: see `enough`.
    park: (parked) => sleep.park(parked === 0 ? 0 : enough(options.awaited?.() ?? 1)),
    spin: () => spinWith(layer, connections.size + 1)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => poller.add(source)),
    () =>
      Effect.sync(() => {
        poller.drop(source)
        clearTimeout(timer)
        for (const connection of connections.values()) close(connection, Layout.State.closed)
      })
  )
  countProcesses()

  const connect = Effect.fnUntraced(function*(rank: number, incarnation: number) {
    const former = connections.get(rank)
    if (former !== undefined) close(former, Layout.State.replaced)
    const scope = Scope.makeUnsafe()
    const lanesName = Files.name(prefix)
    const lanes = yield* machine.create(folder, lanesName, Layout.rank.bytes(sizes)).pipe(
      Scope.provide(scope),
      Effect.tapError(() => Scope.close(scope, Exit.void))
    )
    Layout.sign(lanes, [rank, incarnation, sizes.control, sizes.private, sizes.reply])
    const reply = Layout.rank.reply(lanes, sizes)
    const connection: Connection = {
      rank,
      incarnation,
      memory: lanes,
      scope,
      control: writerOf(Layout.rank.control(lanes, sizes)),
      private: writerOf(Layout.rank.private(lanes, sizes)),
      replies: new Reader(reply.ring, reply.consumed, new Assembly(frameLimit, keptFrame)),
      ringer: new Bell.LazyRinger(machine, folder, () => Layout.rank.bell(lanes), { memory: lanes, index: Layout.rank.parked }),
      open: true,
      ended: false
    }
    requests.connect(rank, { memory: lanes, index: Layout.rank.consumed }, connection.private)
    connections.set(rank, connection)
    countProcesses()
    const handle: Handle = {
      transport: "shm",
      data: {
        folder,
        ring: ringName,
        lanes: lanesName,
        bell,
        rank,
        incarnation,
        ranks: options.ranks,
        ringBytes: layer.ringBytes,
        ...sizes
      }
    }
    return handle
  })

  const encoder = new Encoder()
  /** The frame that was packed last, while it lies in memory that the next one is going to need. */
  let unpublished: ShmPacked | undefined
  const sent = { frames: 0, bytes: 0, controls: 0 }
  const publisher: Publisher = {
    transport: "shm",
    pack: (frame) => {
      unpublished?.keep()
      encoder.encode(frame, lent)
      return unpublished = new ShmPacked(encoder)
    },
    unpack: (packed) => Codec.unpack((packed as ShmPacked).keep()),
    publish: (packed, ranks) => {
      const shm = packed as ShmPacked
      sent.frames++
      sent.bytes += shm.bytes
      const others = requests.writer.waiting.length > 0
      if (requests.takes(shm.bytes, shm.more.length)) requests.put(shm.data, shm.length, shm.more, ranks)
      else requests.publish(shm.keep(), ranks, now)
      if (unpublished === shm) unpublished = undefined
      if (requests.writer.waiting.length > 0 && timer === undefined) flushRequests()
      // What had to wait for room may have gone into the ring before this frame, for whichever ranks.
      if (others) { for (const connection of connections.values()) connection.ringer.wake() }
      else for (let index = 0; index < ranks.length; index++) connections.get(ranks[index]!)?.ringer.wake()
      poller.expect()
    },
    control: (rank, frame) => {
      const connection = connections.get(rank)
      if (connection === undefined) return
      sent.controls++
      if (connection.control.publish(Codec.pack(frame)) !== undefined && isLost(connection)) return lose(connection, lostReader)
      connection.ringer.wake()
    },
    connect: (rank, incarnation): Effect.Effect<Handle, QueueError> => Effect.uninterruptible(connect(rank, incarnation)),
    drain: (rank, incarnation) =>
      Effect.sync(() => {
        // What it published is all there.
        for (const stray of strays) {
          if (stray.rank !== rank || stray.incarnation !== incarnation) continue
          overhear(stray)
          strays.delete(stray)
          tidy(stray)
        }
        const connection = connections.get(rank)
        if (connection?.incarnation !== incarnation) return
        connection.ended = true
        let more = true
        while (more) more = connection.open && receive(connection)
      }),
    disconnect: (rank) => {
      const connection = connections.get(rank)
      if (connection !== undefined) close(connection, Layout.State.closed)
    },
    stats: () => ({ ...sent, laps: requests.laps, waiting: requests.writer.waiting.length, ...poller.stats() }),
    look: poller.look
  }
  return publisher
})
