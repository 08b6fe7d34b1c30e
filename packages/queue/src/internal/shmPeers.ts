/** Lanes between ranks: each rank makes one segment with its lanes to every other. One generation of ranks connects once. */
import type { Handle, PeerLanes, Peers, PeersOptions } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import * as Bell from "./bell.ts"
import { Bed } from "./doorbell.ts"
import * as Files from "./files.ts"
import { Host } from "./host.ts"
import * as LargeFrames from "./largeFrames.ts"
import * as Layout from "./layout.ts"
import type { Source } from "./poller.ts"
import { Assembly, Reader } from "./ring.ts"
import { batch, decode, frameLimit, keptBytes, mismatch, PeerHandle, type Resolved, spinWith } from "./shmOptions.ts"
import { Writer } from "./writer.ts"

interface Peer {
  readonly rank: number
  readonly writer: Writer
  readonly reader: Reader
  readonly ringer: Bell.LazyRinger
  lost: boolean
}

export const peers = Effect.fnUntraced(function*(layer: Resolved, options: PeersOptions) {
  const { folder, laneBytes } = layer
  const host = yield* Host
  const { machine, pid, poller } = host
  const { rank: self, ranks } = options
  const prefix = Files.prefix(options.group, options.secret)
  const segment = Files.nameOf(prefix, pid)
  const bytes = Layout.peers.bytes(ranks, laneBytes)
  yield* machine.reserve("open lanes between ranks", folder, bytes)
  const memory = yield* machine.create(folder, segment, bytes)
  Layout.sign(memory, [self, ranks, laneBytes])
  const bell = yield* Bell.acquire(host, folder, prefix)

  const link = Effect.fnUntraced(function*(handle: Handle, rank: number) {
    const data = yield* decode(PeerHandle, handle)
    const theirs = yield* machine.attach(data.folder, data.segment, Layout.peers.bytes(data.ranks, data.laneBytes))
    if (data.rank !== rank || !Layout.isSigned(theirs, [rank, data.ranks, data.laneBytes]) || self >= data.ranks) {
      return yield* mismatch(data.segment)
    }
    const outgoing = Layout.peers.lane(memory, ranks, laneBytes, rank)
    const incoming = Layout.peers.lane(theirs, data.ranks, data.laneBytes, self)
    const ringer = new Bell.LazyRinger(machine, data.folder, () => data.bell, { memory: theirs, index: Layout.peers.parked })
    yield* Effect.addFinalizer(() => Effect.sync(() => ringer.close()))
    const peer: Peer = {
      rank,
      writer: new Writer(outgoing.ring, outgoing.consumed),
      reader: new Reader(incoming.ring, incoming.consumed, new Assembly(frameLimit, keptBytes)),
      ringer,
      lost: false
    }
    return peer
  })

  const receive = (peer: Peer): boolean => {
    const { assembly, ring } = peer.reader
    let worked = false
    for (let count = 0; count < batch && !peer.lost; count++) {
      const taken = peer.reader.take()
      if (taken === "empty") break
      worked = true
      if (taken === "part") break
      if (taken === "frame") {
        if (assembly.isApart()) LargeFrames.took(assembly.length)
        options.receive(peer.rank, assembly.tag0 >>> 0, assembly.tag1 >>> 0, assembly.own())
      } else {
        peer.lost = true
        options.lost(peer.rank, "bytes on its lane that no rank of this version writes")
      }
    }
    if (worked && ring.memory.load(ring.geometry.wantsRoom) !== 0) peer.ringer.rouse()
    return worked
  }

  const connect = Effect.fnUntraced(function*(handles: ReadonlyArray<Handle>, to?: ReadonlySet<number>) {
    const others: Array<Peer> = []
    for (let rank = 0; rank < handles.length && rank < ranks; rank++) {
      if (rank !== self && to?.has(rank) !== false) others.push(yield* link(handles[rank]!, rank))
    }
    const byRank = new Map(others.map((peer) => [peer.rank, peer]))
    const sleep = new Bed({ memory, index: Layout.peers.parked })
    const source: Source = {
      poll: () => {
        let worked = false
        for (const peer of others) {
          if (receive(peer)) worked = true
          if (peer.writer.ready()) {
            peer.writer.flush()
            peer.ringer.rouse()
            worked = true
          }
        }
        return worked
      },
      ready: () => others.some((peer) => (!peer.lost && peer.reader.ready()) || peer.writer.ready()),
      // An exchange needs a message from each peer: the last of them rings, not each.
      park: (parked) => sleep.park(parked === 0 ? 0 : Math.max(1, options.awaited?.() ?? 1)),
      spin: () => spinWith(layer, ranks)
    }
    yield* Effect.acquireRelease(Effect.sync(() => poller.add(source)), () => Effect.sync(() => poller.drop(source)))
    const tags = new Int32Array(2)
    const lanes: PeerLanes = {
      send: (to, channel, sequence, data) => {
        const peer = byRank.get(to)
        if (peer === undefined || peer.lost) return
        tags[0] = channel
        tags[1] = sequence
        // What does not fit at once outlives this call, in which alone the caller's bytes are as they are.
        const { writer } = peer
        const fits = writer.takes(data.length)
        writer.publish(fits ? data : new Uint8Array(data), tags)
        // A message of which a part has to wait for room is not one that the reader can count.
        if (fits) peer.ringer.wake()
        else peer.ringer.rouse()
      },
      look: poller.look
    }
    return lanes
  })

  const result: Peers = {
    handle: { transport: "shm", data: { folder, segment, bell, rank: self, ranks, laneBytes } },
    connect
  }
  return result
})
