/** A worker's end of a group in shared memory. */
import type { Handle, Subscriber, SubscriberOptions } from "@phalanx/core/MessageQueues"
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import * as Bell from "./bell.ts"
import * as Codec from "./codec.ts"
import { Bed } from "./doorbell.ts"
import * as Files from "./files.ts"
import { Host } from "./host.ts"
import * as LargeFrames from "./largeFrames.ts"
import * as Layout from "./layout.ts"
import type { Source } from "./poller.ts"
import { Assembly, LAPPED, Reader } from "./ring.ts"
import { batch, decode, frameLimit, GroupHandle, keptFrame, mismatch, type Resolved, spinWith } from "./shmOptions.ts"
import { Writer } from "./writer.ts"

const goodbyes: Record<number, string> = {
  [Layout.State.closed]: "the driver closed this rank's lanes",
  [Layout.State.replaced]: "replaced by a later incarnation of this rank"
}

export const attach = Effect.fnUntraced(function*(layer: Resolved, handle: Handle, options: SubscriberOptions) {
  const data = yield* decode(GroupHandle, handle)
  const host = yield* Host
  const { machine, pid, poller } = host
  const sizes: Layout.LaneSizes = data
  const ringMemory = yield* machine.attach(data.folder, data.ring, Layout.group.bytes(data.ringBytes))
  const memory = yield* machine.attach(data.folder, data.lanes, Layout.rank.bytes(sizes))
  if (!Layout.isSigned(ringMemory, [data.ranks, data.ringBytes])) return yield* mismatch(data.ring)
  if (!Layout.isSigned(memory, [data.rank, data.incarnation, sizes.control, sizes.private, sizes.reply])) return yield* mismatch(data.lanes)

  // Before it makes any file, so that whoever cleans up after it knows whose they are.
  memory.store(Layout.rank.pid, pid)
  const bell = yield* Bell.acquire(host, data.folder, Files.prefixOf(data.lanes))
  const driver = new Bell.LazyRinger(machine, data.folder, () => data.bell, { memory: ringMemory, index: Layout.group.driverParked })
  yield* Effect.addFinalizer(() => Effect.sync(() => driver.close()))

  const controlLane = Layout.rank.control(memory, sizes)
  const privateLane = Layout.rank.private(memory, sizes)
  const replyLane = Layout.rank.reply(memory, sizes)
  const control = new Reader(controlLane.ring, controlLane.consumed, new Assembly(frameLimit, keptFrame))
  const requests = new Assembly(frameLimit, keptFrame)
  const privately = new Reader(privateLane.ring, privateLane.consumed, requests)
  const ring = new Reader(
    Layout.group.ring(ringMemory, data.ringBytes, data.ranks),
    { memory, index: Layout.rank.consumed },
    requests,
    data.rank
  )
  const sleep = new Bed({ memory, index: Layout.rank.parked })
  const replies = new Writer(replyLane.ring, replyLane.consumed)
  let flushed: Array<() => void> = []
  let alive = true

  const tellFlushed = (): void => {
    if (flushed.length === 0 || (alive && replies.waiting.length > 0)) return
    const resumes = flushed
    flushed = []
    for (const resume of resumes) resume()
  }

  const end = (): void => {
    alive = false
    poller.drop(source)
    tellFlushed()
  }

  const lose = (issue: string): void => {
    if (!alive) return
    end()
    options.lost(issue)
  }

  /** Delivers the next frame of a stream; whether there may be more. */
  const deliver = (reader: Reader): boolean => {
    if (!alive) return false
    const taken = reader.take()
    if (taken === "empty" || taken === "part" || (taken === "moved" && reader === ring)) return false
    // Where this worker stands in a lane of its own is for nobody else to say.
    if (taken !== "frame") {
      lose("bytes on its lanes that no driver of this version writes")
      return false
    }
    let frame: ReadonlyArray<unknown>
    try {
      const { assembly } = reader
      if (assembly.isApart()) LargeFrames.took(assembly.length)
      frame = assembly.isApart() ? Codec.unpackOwn(assembly.own()) : Codec.unpack(assembly.bytes, assembly.length)
    } catch (cause) {
      lose(`a frame that is not MessagePack: ${(cause as Error).message}`)
      return false
    }
    options.receive(frame)
    return alive
  }

  const tellRoom = (reader: Reader): void => {
    if (reader.ring.memory.load(reader.ring.geometry.wantsRoom) !== 0) driver.rouse()
  }

  /** Control frames overtake everything. */
  const pollControl = (): boolean => {
    if (!control.ready()) return false
    while (deliver(control)) { /* until there are none */ }
    tellRoom(control)
    return true
  }

  const pollRequests = (): boolean => {
    // First the word, then the private lane, then the ring from that word on: see `requests.ts` for why the order holds.
    const word = ring.load()
    let left = batch
    if (privately.ready()) {
      while (left-- > 0 && deliver(privately)) pollControl()
      tellRoom(privately)
      if (left < 0 || !alive) return true
    }
    if ((word & LAPPED) !== 0) return left < batch
    ring.position = word
    if (!ring.ready()) return left < batch
    while (left-- > 0 && deliver(ring)) pollControl()
    tellRoom(ring)
    return true
  }

  const source: Source = {
    poll: () => {
      // Before looking, so that what was said before the goodbye is heard before it.
      const goodbye = goodbyes[memory.load(Layout.rank.state)]
      let worked = pollControl()
      if (alive) worked = pollRequests() || worked
      if (replies.ready()) {
        replies.flush()
        driver.rouse()
        worked = true
      }
      tellFlushed()
      if (!worked && goodbye !== undefined) lose(goodbye)
      return worked
    },
    ready: () =>
      control.ready() || privately.ready() || ((ring.load() & LAPPED) === 0 && ring.ready()) || replies.ready()
      || memory.load(Layout.rank.state) !== Layout.State.attached,
    park: (parked) => sleep.park(parked),
    spin: () => spinWith(layer, ringMemory.load(Layout.group.processes))
  }

  yield* Effect.acquireRelease(
    Effect.suspend(() => {
      Layout.rank.setBell(memory, bell)
      if (memory.compareExchange(Layout.rank.state, Layout.State.open, Layout.State.attached) === Layout.State.open) {
        poller.add(source)
        return Effect.void
      }
      return Effect.fail(
        new QueueError({
          operation: "attach to",
          where: data.lanes,
          issue: goodbyes[memory.load(Layout.rank.state)] ?? "another reader has attached already",
          advice: "Connect the rank again and attach with the new handle"
        })
      )
    }),
    () =>
      Effect.sync(() => {
        end()
        if (memory.compareExchange(Layout.rank.state, Layout.State.attached, Layout.State.left) === Layout.State.attached) driver.rouse()
      })
  )

  const sent = { frames: 0, bytes: 0 }
  const subscriber: Subscriber = {
    send: (frame, counts) => {
      if (!alive) return
      const encoded = Codec.encode(frame)
      sent.frames++
      sent.bytes += encoded.length
      const fits = replies.takes(encoded.length)
      if (fits) replies.put(encoded.bytes, encoded.length)
      else replies.publish(encoded.take())
      // A frame of which a part has to wait for room is not one that the driver can count.
      if (counts === true && fits) driver.wake()
      else driver.rouse()
    },
    flush: Effect.callback<void>((resume) => {
      if (!alive || replies.waiting.length === 0) return resume(Effect.void)
      flushed.push(() => resume(Effect.void))
    }),
    stats: () => ({ ...sent, waiting: replies.waiting.length, ...poller.stats() })
  }
  return subscriber
})
