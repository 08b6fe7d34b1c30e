/** A reading end of a queue that stands alone. */
import { QueueError } from "@phalanx/core/QueueError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import process from "node:process"
import * as Bell from "./bell.ts"
import * as Codec from "./codec.ts"
import { Bed } from "./doorbell.ts"
import * as Files from "./files.ts"
import { Host } from "./host.ts"
import * as Layout from "./layout.ts"
import type { Source } from "./poller.ts"
import { Assembly, Reader } from "./ring.ts"
import { frameLimit, invalidHandle, keptBytes, mismatch, resolve, spinWith } from "./shmOptions.ts"
import { Handle, Phase, QueueClosed } from "./standalone.ts"

interface Message {
  readonly isValue: boolean
  readonly bytes: Uint8Array
}

export const attach = Effect.fnUntraced(function*(given: unknown, index: number) {
  const handle = yield* Schema.decodeUnknownEffect(Handle)(given).pipe(Effect.mapError(invalidHandle("queue")))
  const { capacity, folder, readers, segment } = handle
  const host = yield* Host
  const { machine, poller } = host
  const refuse = (issue: string, advice: string) => new QueueError({ operation: "attach to queue", where: segment, issue, advice })
  if (!Number.isInteger(index) || index < 0 || index >= readers) {
    return yield* refuse(`no reader ${index} of ${readers}`, "Attach as one of the readers that the queue was made for, counted from 0")
  }
  const memory = yield* machine.attach(folder, segment, Layout.queue.bytes(readers, capacity))
  if (!Layout.isSigned(memory, [readers, capacity])) return yield* mismatch(segment)

  const layer = { ...resolve({ folder }), spinMicros: handle.spinMicros }
  const bell = yield* Bell.acquire(host, folder, Files.prefixOf(segment))
  const writer = new Bell.LazyRinger(machine, folder, () => handle.bell, { memory, index: Layout.queue.writerParked })
  yield* Effect.addFinalizer(() => Effect.sync(() => writer.close()))
  const sleep = new Bed({ memory, index: Layout.queue.parked(index) })
  const state = Layout.queue.state(index)
  const ring = Layout.queue.ring(memory, readers, capacity)
  const reader = new Reader(ring, { memory, index: Layout.queue.consumed(index) }, new Assembly(frameLimit, keptBytes))
  const gone = new QueueClosed({ queue: segment })
  let takers: Array<(found: Effect.Effect<Message, QueueClosed | QueueError>) => void> = []
  let readying: Array<() => void> = []
  let junk = false

  const closed = (): boolean => memory.load(Layout.queue.phase) === Phase.closed || memory.load(state) !== Layout.State.attached

  /** The next message, the queue's end, or nothing yet. */
  const next = (): Effect.Effect<Message, QueueClosed | QueueError> | undefined => {
    // Before looking, so that what was published before the end is found.
    const ended = closed()
    for (;;) {
      const taken = junk || memory.load(state) !== Layout.State.attached ? "empty" : reader.take()
      if (taken !== "empty" && memory.load(ring.geometry.wantsRoom) !== 0) writer.wake()
      if (taken === "moved") reader.position = reader.load()
      if (taken === "junk") junk = true
      if (taken === "frame") {
        const message = { isValue: reader.assembly.tag0 === 1, bytes: reader.assembly.own() }
        return Effect.succeed(message)
      }
      if (taken === "empty") {
        if (junk) return Effect.fail(refuse("bytes that no writer of this version makes", "Close this reader and remove it at the writer"))
        return ended ? Effect.fail(gone) : undefined
      }
    }
  }

  const source: Source = {
    poll: () => {
      let worked = false
      while (takers.length > 0) {
        const found = next()
        if (found === undefined) break
        worked = true
        takers.shift()!(found)
      }
      if (readying.length > 0 && memory.load(Layout.queue.phase) !== Phase.attaching) {
        worked = true
        for (const resume of readying.splice(0)) resume()
      }
      return worked
    },
    ready: () =>
      (takers.length > 0 && (reader.ready() || closed()))
      || (readying.length > 0 && memory.load(Layout.queue.phase) !== Phase.attaching),
    park: (parked) => sleep.park(takers.length + readying.length > 0 ? parked : 0),
    spin: () => takers.length === 0 ? 0 : spinWith(layer, readers + 1)
  }

  yield* Effect.acquireRelease(
    Effect.suspend(() => {
      if (memory.compareExchange(state, Layout.State.open, Layout.State.attached) !== Layout.State.open) {
        return Effect.fail(refuse(`reader ${index} has attached before`, "Each reader attaches once: number them, or make another queue"))
      }
      // Only now, or it would be another reader's; nobody asks for it before this one sleeps.
      Layout.queue.setBell(memory, index, bell)
      memory.store(Layout.queue.pid(index), process.pid)
      poller.add(source)
      writer.wake()
      return Effect.void
    }),
    () =>
      Effect.sync(() => {
        poller.drop(source)
        for (const taker of takers.splice(0)) taker(Effect.fail(gone))
        if (memory.compareExchange(state, Layout.State.attached, Layout.State.left) === Layout.State.attached) writer.wake()
      })
  )

  const message = Effect.suspend(() => {
    const found = takers.length === 0 ? next() : undefined
    if (found !== undefined) return found
    return Effect.callback<Message, QueueClosed | QueueError>((resume) => {
      takers.push(resume)
      poller.wake()
      return Effect.sync(() => {
        takers = takers.filter((other) => other !== resume)
      })
    })
  })
  const take = Effect.flatMap(message, ({ bytes, isValue }) =>
    isValue
      ? Effect.try({
        try: () => Codec.unpack(bytes)[0],
        catch: (cause) => refuse(`a message that is not MessagePack: ${(cause as Error).message}`, "Publish values with `publish`")
      })
      : Effect.succeed(bytes))

  return {
    take,
    takeBytes: Effect.map(message, (_) => _.bytes),
    stream: Stream.fromEffectRepeat(Effect.catchTag(take, "QueueClosed", () => Cause.done())),
    ready: Effect.callback<void, QueueClosed>((resume) => {
      const done = () => resume(closed() ? Effect.fail(gone) : Effect.void)
      if (memory.load(Layout.queue.phase) !== Phase.attaching) return done()
      readying.push(done)
      poller.wake()
      return Effect.sync(() => {
        readying = readying.filter((other) => other !== done)
      })
    })
  }
})
