/**
 * One group's queues over two transports: shared memory for who can see the driver's segments, TCP for everybody else. Who is where is not configured: a worker looks whether the segment that
 * its handle names is there, which only the driver's own host has, and the driver learns of it by the lane on which the worker's first frame comes.
 */
import type {
  Frame,
  Handle,
  MessageQueues,
  Packed,
  PeerLanes,
  Peers,
  PeersOptions,
  Publisher,
  PublisherOptions,
  Stats,
  SubscriberOptions
} from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { existsSync } from "node:fs"
import { isAbsolute, join } from "node:path"
import { isName } from "./files.ts"
import { invalidHandle } from "./shmOptions.ts"

type Queues = MessageQueues["Service"]
type Way = "shm" | "tcp"

/** Whether this process, which is `self` (a rank, or −1: none yet), sees a segment of another one's. */
export type Sees = (self: number, folder: string, segment: string, other: number) => boolean

/** By its name, which nobody can guess. */
export const seesFile: Sees = (_, folder, segment) => isAbsolute(folder) && isName(segment) && existsSync(join(folder, segment))

/** Both handles, and what of them tells whether the first one leads anywhere. */
const Both = Schema.Struct({
  shm: Schema.Struct({
    transport: Schema.Literal("shm"),
    data: Schema.StructWithRest(
      Schema.Struct({
        folder: Schema.String,
        rank: Schema.Int,
        ring: Schema.optionalKey(Schema.String),
        segment: Schema.optionalKey(Schema.String)
      }),
      [Schema.Record(Schema.String, Schema.Json)]
    )
  }),
  tcp: Schema.Struct({ transport: Schema.Literal("tcp"), data: Schema.Json })
})

const both = (shm: Handle, tcp: Handle): Handle => ({ transport: "mixed", data: { shm, tcp } })

export const decode = (handle: Handle) =>
  Schema.decodeUnknownEffect(Both)(handle.transport === "mixed" ? handle.data : undefined).pipe(
    Effect.mapError(invalidHandle(handle.transport))
  )

/** A frame in the forms that its readers take, each made when there is such a reader. */
class MixedPacked implements Packed {
  readonly shm: Packed | undefined
  readonly tcp: Packed | undefined
  readonly bytes: number
  constructor(shm: Packed | undefined, tcp: Packed | undefined) {
    this.shm = shm
    this.tcp = tcp
    this.bytes = Math.max(shm?.bytes ?? 0, tcp?.bytes ?? 0)
  }
  keep(): void {
    this.shm?.keep?.()
    this.tcp?.keep?.()
  }
}

const prefixed = (prefix: Way, stats: Stats | undefined): Stats =>
  Object.fromEntries(Object.entries(stats ?? {}).map(([name, value]) => [`${prefix}.${name}`, value]))

const open = (queues: Readonly<Record<Way, Queues>>) =>
  Effect.fnUntraced(function*(options: PublisherOptions) {
    /** By which way a rank's present incarnation is reached, once it has spoken. */
    const ways = new Map<number, Way>()
    const connected = new Set<number>()
    const isSettled = (): boolean => ways.size === connected.size
    const has = (way: Way): boolean => !isSettled() || [...ways.values()].includes(way)

    const end = (way: Way) =>
      queues[way].open({
        ...options,
        receive: (rank, frame) => {
          const settled = ways.get(rank)
          if (settled === undefined) {
            ways.set(rank, way)
            publishers[way === "shm" ? "tcp" : "shm"].disconnect(rank)
          } else if (settled !== way) return options.fenced?.(rank)
          options.receive(rank, frame)
        },
        lost: (rank, issue) => {
          if (ways.get(rank) === way) options.lost(rank, issue)
        },
        // What comes by the other way counts down nobody's word.
        awaited: () => has("tcp") ? 1 : options.awaited?.() ?? 1
      })
    const publishers: Record<Way, Publisher> = { shm: yield* end("shm"), tcp: yield* end("tcp") }
    const each = (rank: number, f: (publisher: Publisher) => void): void => {
      const way = ways.get(rank)
      if (way !== "tcp") f(publishers.shm)
      if (way !== "shm") f(publishers.tcp)
    }

    const publisher: Publisher = {
      transport: "mixed",
      pack: (frame: Frame) =>
        new MixedPacked(
          has("shm") ? publishers.shm.pack(frame) : undefined,
          has("tcp") || !has("shm") ? publishers.tcp.pack(frame) : undefined
        ),
      unpack: (packed) => {
        const { shm, tcp } = packed as MixedPacked
        return shm === undefined ? publishers.tcp.unpack(tcp!) : publishers.shm.unpack(shm)
      },
      publish: (packed, ranks) => {
        const { shm, tcp } = packed as MixedPacked
        const local = ranks.filter((rank) => ways.get(rank) !== "tcp")
        const remote = ranks.filter((rank) => ways.get(rank) !== "shm")
        // A form that was not made when the frame was packed is needed where a rank has come to another host since.
        if (local.length > 0) publishers.shm.publish(shm ?? publishers.shm.pack(publishers.tcp.unpack(tcp!)), local)
        if (remote.length > 0) publishers.tcp.publish(tcp ?? publishers.tcp.pack(publishers.shm.unpack(shm!)), remote)
      },
      control: (rank, frame) => each(rank, (publisher) => publisher.control(rank, frame)),
      connect: (rank, incarnation) =>
        Effect.gen(function*() {
          ways.delete(rank)
          connected.add(rank)
          return both(yield* publishers.shm.connect(rank, incarnation), yield* publishers.tcp.connect(rank, incarnation))
        }),
      drain: (rank, incarnation) => {
        const way = ways.get(rank)
        return way === undefined
          ? Effect.andThen(publishers.shm.drain(rank, incarnation), publishers.tcp.drain(rank, incarnation))
          : publishers[way].drain(rank, incarnation)
      },
      disconnect: (rank) => {
        connected.delete(rank)
        ways.delete(rank)
        publishers.shm.disconnect(rank)
        publishers.tcp.disconnect(rank)
      },
      stats: () => ({ ...prefixed("shm", publishers.shm.stats?.()), ...prefixed("tcp", publishers.tcp.stats?.()) }),
      look: () => publishers.shm.look?.()
    }
    return publisher
  })

const attach = (queues: Readonly<Record<Way, Queues>>, sees: Sees) =>
  Effect.fnUntraced(function*(handle: Handle, options: SubscriberOptions) {
    const { shm, tcp } = yield* decode(handle)
    const way: Way = sees(-1, shm.data.folder, shm.data.ring ?? "", shm.data.rank) ? "shm" : "tcp"
    const subscriber = yield* queues[way].attach(way === "shm" ? shm : tcp, options)
    return { ...subscriber, stats: () => prefixed(way, subscriber.stats?.()) }
  })

const peers = (queues: Readonly<Record<Way, Queues>>, sees: Sees) =>
  Effect.fnUntraced(function*(options: PeersOptions) {
    const remotes = new Set<number>()
    const mine = {
      shm: yield* queues.shm.peers({
        ...options,
        awaited: () => remotes.size > 0 ? 1 : options.awaited?.() ?? 1
      }),
      tcp: yield* queues.tcp.peers(options)
    }
    const connect: Peers["connect"] = Effect.fnUntraced(function*(handles) {
      const others = yield* Effect.forEach(handles, (handle, rank) => decode(rank === options.rank ? own : handle))
      const locals = new Set<number>()
      for (const [rank, { shm: { data } }] of others.entries()) {
        if (rank === options.rank) continue
        if (sees(options.rank, data.folder, data.segment ?? "", rank)) locals.add(rank)
        else remotes.add(rank)
      }
      const near = yield* mine.shm.connect(others.map(({ shm }) => shm), locals)
      const far = remotes.size === 0 ? undefined : yield* mine.tcp.connect(others.map(({ tcp }) => tcp), remotes)
      const lanes: PeerLanes = {
        send: (to, channel, sequence, bytes) => (locals.has(to) ? near : far)?.send(to, channel, sequence, bytes),
        look: () => near.look?.()
      }
      return lanes
    })
    const own = both(mine.shm.handle, mine.tcp.handle)
    return { handle: own, connect }
  })

export const make = (queues: Readonly<Record<Way, Queues>>, sees: Sees): Queues => ({
  open: open(queues),
  attach: attach(queues, sees),
  peers: peers(queues, sees)
})
