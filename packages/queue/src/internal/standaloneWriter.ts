/** The writing end of a queue that stands alone. */
import { QueueError } from "@phalanx/core/QueueError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Crypto from "node:crypto"
import * as Bell from "./bell.ts"
import * as Codec from "./codec.ts"
import { Bed } from "./doorbell.ts"
import * as Files from "./files.ts"
import { Host } from "./host.ts"
import * as Layout from "./layout.ts"
import type { Source } from "./poller.ts"
import { powerOfTwo, resolve, type Resolved, spinWith } from "./shmOptions.ts"
import { type Behind, describe, type Handle, Phase, QueueClosed, QueueTimeout } from "./standalone.ts"
import { isWritten, type Reading, type Rest, Writer } from "./writer.ts"

const kinds = { bytes: new Int32Array([0, 0]), value: new Int32Array([1, 0]) }

interface Waiting {
  readonly rest: Rest
  readonly written: () => void
}

interface Slot {
  readonly reader: number
  readonly reading: Reading
  readonly ringer: Bell.LazyRinger
}

export interface Making {
  readonly readers: number
  readonly capacity?: number | undefined
  readonly folder?: string | undefined
  readonly name?: string | undefined
  readonly spin?: Duration.Input | undefined
}

/** How often the log names the readers for which a publisher waits. */
const complaint = "60 seconds"

export const make = Effect.fnUntraced(function*(options: Making) {
  const layer: Resolved = resolve(options)
  const { folder } = layer
  const host = yield* Host
  const { machine, poller } = host
  const { readers } = options
  const name = options.name ?? "queue"
  if (!(Number.isInteger(readers) && readers >= 1 && readers <= 1024) || !/^[A-Za-z0-9-]{1,64}$/.test(name)) {
    return yield* new QueueError({
      operation: "make queue",
      where: name,
      issue: `${readers} readers, name ${JSON.stringify(name)}`,
      advice: "Give 1 to 1024 readers, and a name of at most 64 letters, digits and -"
    })
  }
  const capacity = powerOfTwo(options.capacity ?? layer.ringBytes)
  const prefix = Files.prefix(name, Crypto.randomBytes(16).toString("hex"))
  const bytes = Layout.queue.bytes(readers, capacity)
  yield* machine.reserve("make queue", folder, bytes)
  yield* machine.sweepAtEnd(folder, prefix)
  const segment = Files.name(prefix)
  const memory = yield* machine.create(folder, segment, bytes)
  Layout.sign(memory, [readers, capacity])
  const bell = yield* Bell.acquire(host, folder, prefix)
  const handle: Handle = { folder, segment, bell, readers, capacity, spinMicros: layer.spinMicros }

  const writer = new Writer(Layout.queue.ring(memory, readers, capacity))
  const slots = new Map<number, Slot>()
  for (let reader = 0; reader < readers; reader++) {
    slots.set(reader, {
      reader,
      reading: writer.admit(-1, { memory, index: Layout.queue.consumed(reader) }),
      ringer: new Bell.LazyRinger(machine, folder, () => Layout.queue.bell(memory, reader), { memory, index: Layout.queue.parked(reader) })
    })
  }
  let waiting: Array<Waiting> = []
  let awaitingReady: Array<() => void> = []
  let closed = false

  const stateOf = (slot: Slot): number => memory.load(Layout.queue.state(slot.reader))
  const wakeAll = (): void => {
    for (const slot of slots.values()) slot.ringer.wake()
  }

  const advance = (): void => {
    if (writer.waiting.length > 0) {
      writer.flush()
      wakeAll()
    }
    const done = waiting.filter(({ rest }) => isWritten(rest))
    if (done.length === 0) return
    waiting = waiting.filter(({ rest }) => !isWritten(rest))
    for (const { written } of done) written()
  }

  const isReady = (): boolean => {
    for (const slot of slots.values()) if (stateOf(slot) === Layout.State.open) return false
    return true
  }

  const remove = (slot: Slot, state: number): void => {
    slots.delete(slot.reader)
    memory.store(Layout.queue.state(slot.reader), state)
    writer.dismiss(slot.reading)
    slot.ringer.wake()
    slot.ringer.close()
    advance()
  }

  const announce = (): void => {
    if (closed || memory.load(Layout.queue.phase) !== Phase.attaching || !isReady()) return
    memory.store(Layout.queue.phase, Phase.ready)
    wakeAll()
    const resumes = awaitingReady
    awaitingReady = []
    for (const resume of resumes) resume()
  }

  const someoneLeft = (): boolean => {
    for (const slot of slots.values()) if (stateOf(slot) === Layout.State.left) return true
    return false
  }

  const sleep = new Bed({ memory, index: Layout.queue.writerParked })
  const source: Source = {
    poll: () => {
      const worked = writer.ready() || someoneLeft()
      if (worked) {
        for (const slot of slots.values()) if (stateOf(slot) === Layout.State.left) remove(slot, Layout.State.left)
        advance()
      }
      announce()
      return worked
    },
    ready: () => writer.ready() || someoneLeft() || (memory.load(Layout.queue.phase) === Phase.attaching && isReady()),
    park: (parked) => sleep.park(parked),
    // A writer that nobody keeps waiting has nothing to look for.
    spin: () => writer.waiting.length === 0 ? 0 : spinWith(layer, readers + 1)
  }

  const close = Effect.sync(() => {
    if (closed) return
    closed = true
    poller.drop(source)
    writer.retain(() => false)
    memory.store(Layout.queue.phase, Phase.closed)
    for (const slot of slots.values()) {
      slot.ringer.wake()
      slot.ringer.close()
    }
    for (const { written } of waiting.splice(0)) written()
    for (const resume of awaitingReady.splice(0)) resume()
  })
  yield* Effect.acquireRelease(Effect.sync(() => poller.add(source)), () => close)

  const behind = (): Array<Behind> =>
    [...slots.values()]
      .map(({ reader, reading }): Behind => ({ reader, pid: memory.load(Layout.queue.pid(reader)), bytes: writer.lag(reading) * 4 }))
      .filter(({ bytes }) => bytes > 0)
      .sort((a, b) => b.bytes - a.bytes)

  const gone = new QueueClosed({ queue: segment })

  /** Takes a message back for which there was no room; what of it is in the ring is void with the next message. */
  const withdraw = (rest: Rest): void => {
    if (isWritten(rest)) return
    waiting = waiting.filter((entry) => entry.rest !== rest)
    writer.retain((entry) => entry !== rest)
    advance()
  }

  const complain = Effect.suspend(() => Effect.logInfo(`Queue ${segment} has had no room for ${complaint}: ${describe(behind())}`))
    .pipe(Effect.delay(complaint), Effect.forever)

  const append = (
    data: Uint8Array,
    tags: Int32Array,
    timeout: Duration.Input | undefined
  ): Effect.Effect<void, QueueTimeout | QueueClosed> =>
    Effect.suspend(() => {
      if (closed) return Effect.fail(gone)
      const rest = writer.publish(data, tags)
      wakeAll()
      if (rest === undefined) return Effect.void
      const written = Effect.callback<void, QueueClosed>((resume) => {
        const done = () => resume(isWritten(rest) ? Effect.void : Effect.fail(gone))
        if (closed || isWritten(rest)) return done()
        waiting.push({ rest, written: done })
        poller.wake()
      })
      const inTime = timeout === undefined ? written : Effect.timeoutOrElse(written, {
        duration: Duration.max(Duration.fromInputUnsafe(timeout), Duration.zero),
        orElse: () => Effect.suspend(() => Effect.fail(new QueueTimeout({ queue: segment, behind: behind() })))
      })
      return Effect.onExit(Effect.raceFirst(inTime, complain), () => Effect.sync(() => withdraw(rest)))
    })

  return {
    handle,
    publish: (value: unknown, publishing?: { readonly timeout?: Duration.Input | undefined }) =>
      Effect.suspend(() => append(Codec.pack([value]), kinds.value, publishing?.timeout)),
    publishBytes: (data: Uint8Array, publishing?: { readonly timeout?: Duration.Input | undefined }) =>
      append(data, kinds.bytes, publishing?.timeout),
    ready: Effect.callback<void, QueueClosed>((resume) => {
      announce()
      const done = () => resume(closed ? Effect.fail(gone) : Effect.void)
      if (closed || memory.load(Layout.queue.phase) !== Phase.attaching) return done()
      awaitingReady.push(done)
      return Effect.sync(() => {
        awaitingReady = awaitingReady.filter((other) => other !== done)
      })
    }),
    remove: (reader: number) =>
      Effect.sync(() => {
        const slot = slots.get(reader)
        if (slot !== undefined) remove(slot, Layout.State.closed)
        announce()
      }),
    close
  }
})
