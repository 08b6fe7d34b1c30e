import { assert, describe, it } from "@effect/vitest"
import { type Frame, type Handle, MessageQueues, type Publisher } from "@phalanx/core/MessageQueues"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Crypto from "node:crypto"
import { awaited as awaitedBy } from "../src/internal/doorbell.ts"
import * as Files from "../src/internal/files.ts"
import * as Layout from "../src/internal/layout.ts"
import { MappedMemory } from "../src/internal/memory.ts"
import * as Segment from "../src/internal/segment.ts"
import { peerMessages } from "./fixtures/peerMessages.ts"
import { filesOf, processorTicks, processState, start, type Started } from "./fixtures/processes.ts"
import { random } from "./fixtures/random.ts"

interface Group {
  readonly name: string
  readonly publisher: Publisher
  readonly workers: ReadonlyArray<Started>
  readonly handles: ReadonlyArray<Handle>
  /** The next frame of a rank. */
  readonly from: (rank: number) => Effect.Effect<Frame>
  readonly lost: Queue.Queue<readonly [number, string]>
}

let groups = 0

/** A driver here and a process for each rank, which sends every frame back. */
const startGroup = Effect.fnUntraced(function*(
  ranks: number,
  options: ShmQueues.Options = {},
  echoArguments: ReadonlyArray<string> = [],
  awaited?: () => number
) {
  const name = `shm-test-${process.pid}-${groups++}`
  const queues = yield* Effect.provide(MessageQueues, ShmQueues.layerWith(options))
  const heard = yield* Effect.forEach(Array.from({ length: ranks }), () => Queue.unbounded<Frame>())
  const lost = yield* Queue.unbounded<readonly [number, string]>()
  const publisher = yield* queues.open({
    group: name,
    secret: Crypto.randomBytes(16).toString("hex"),
    ranks,
    receive: (rank, frame) => Queue.offerUnsafe(heard[rank]!, frame),
    lost: (rank, issue) => Queue.offerUnsafe(lost, [rank, issue]),
    awaited
  })
  const workers: Array<Started> = []
  const handles: Array<Handle> = []
  for (let rank = 0; rank < ranks; rank++) {
    const worker = yield* start("echo", ...echoArguments)
    const handle = yield* publisher.connect(rank, 0)
    worker.send(handle)
    assert.deepStrictEqual(yield* worker.hear, ["ready"])
    workers.push(worker)
    handles.push(handle)
  }
  const group: Group = { name, publisher, workers, handles, from: (rank) => Queue.take(heard[rank]!), lost }
  return group
})

const all = (group: Group) => group.workers.map((_, rank) => rank)

const publish = (group: Group, frame: Frame, ranks = all(group)) => group.publisher.publish(group.publisher.pack(frame), ranks)

/** Waits for a process to be in a state, as `/proc` names it. */
const untilState = (pid: number, state: string) =>
  Effect.repeat(Effect.suspend(() => Effect.as(Effect.yieldNow, processState(pid))), { until: (now) => now === state })

// Starting a process takes a busy machine seconds.
describe("shared memory between processes", { timeout: 60_000 }, () => {
  it.live("MQ-1: frames of all lengths, longer than the ring too, come back from every rank they named, equal and in order", () =>
    Effect.gen(function*() {
      const group = yield* startGroup(2, { ringBytes: 65536, laneBytes: 8192 })
      const next = random(1)
      const expected: Array<Array<Frame>> = [[], []]
      for (let number = 0; number < 400; number++) {
        const length = number % 100 === 50 ? 300_000 : number % 10 === 5 ? next(30_000) : next(200)
        const frame: Frame = [number, { text: "ä".repeat(next(20)), list: [null, true, -1.5] }, new Uint8Array(length).fill(number)]
        const ranks = [0, 1].filter(() => next(3) > 0)
        publish(group, frame, ranks)
        for (const rank of ranks) expected[rank]!.push(frame)
        if (number % 20 === 0) yield* Effect.yieldNow
      }
      for (const rank of [0, 1]) {
        for (const frame of expected[rank]!) assert.deepStrictEqual(yield* group.from(rank), frame)
      }
    }))

  it.live("MQ-2: a control frame arrives although the rank has read none of the requests before it, which filled the ring", () =>
    Effect.gen(function*() {
      const group = yield* startGroup(1, { ringBytes: 16384 })
      const [worker] = group.workers
      yield* worker!.kill("SIGSTOP")
      yield* untilState(worker!.pid, "T")
      for (let number = 0; number < 100; number++) publish(group, [number, new Uint8Array(1000)])
      group.publisher.control(0, ["control"])
      yield* worker!.kill("SIGCONT")
      assert.deepStrictEqual(yield* group.from(0), ["control"])
      for (let number = 0; number < 100; number++) assert.strictEqual((yield* group.from(0))[0], number)
    }))

  it.live("MQ-3: a stopped rank holds up no other one, and gets all that was meant for it, in order, when it goes on", () =>
    Effect.gen(function*() {
      const group = yield* startGroup(2, { ringBytes: 16384, laneBytes: 8192 })
      const slow = group.workers[1]!
      yield* slow.kill("SIGSTOP")
      yield* untilState(slow.pid, "T")
      const started = performance.now()
      for (let number = 0; number < 500; number++) publish(group, [number, new Uint8Array(500)])
      for (let number = 0; number < 500; number++) assert.strictEqual((yield* group.from(0))[0], number)
      // Held up once, for 50 ms; the rest is this machine being busy.
      assert.isBelow(performance.now() - started, 3000)
      for (let number = 500; number < 1000; number++) {
        publish(group, [number, new Uint8Array(500)])
        assert.strictEqual((yield* group.from(0))[0], number)
      }
      yield* slow.kill("SIGCONT")
      for (let number = 0; number < 1000; number++) assert.strictEqual((yield* group.from(1))[0], number)
      publish(group, ["again"])
      assert.deepStrictEqual([yield* group.from(0), yield* group.from(1)], [["again"], ["again"]])
    }))

  it.live("MQ-4: bytes that are no frame, and a whole frame that is not MessagePack, end their rank's part alone, on either side", () =>
    Effect.gen(function*() {
      const group = yield* startGroup(3)
      const lanesOf = Effect.fnUntraced(function*(rank: number) {
        const data = group.handles[rank]!.data as unknown as { folder: string; lanes: string } & Layout.LaneSizes
        return [new MappedMemory(yield* Segment.attach(data.folder, data.lanes, Layout.rank.bytes(data))), data] as const
      })
      const { ring: control } = Layout.rank.control(...(yield* lanesOf(1)))
      control.publish(control.write(control.written(), new Uint8Array([0xc1, 0xc1]), 0, 2, 2, 0, []))
      publish(group, ["wake"])
      const [tag, words] = yield* Effect.map(group.workers[1]!.hear, (_) => _ as [string, string])
      assert.strictEqual(tag, "lost")
      assert.include(words, "a frame that is not MessagePack")
      assert.deepStrictEqual([yield* group.from(0), yield* group.from(2)], [["wake"], ["wake"]])

      const [lanes, data] = yield* lanesOf(0)
      const { ring } = Layout.rank.reply(lanes, data)
      for (let word = 0; word < 64; word++) lanes.set(ring.geometry.data / 4 + word, 0x01020304)
      ring.publish(ring.written() + 64)
      // Nobody rings for junk: the other rank's answer does.
      publish(group, ["wake"], [2])
      const lost = [yield* Queue.take(group.lost)]
      while (lost.at(-1)![0] !== 0) lost.push(yield* Queue.take(group.lost))
      assert.deepStrictEqual(lost.at(-1), [0, "bytes on its reply lane that no worker of this version writes"])
      assert.deepStrictEqual(yield* group.from(2), ["wake"])
      assert.deepStrictEqual(yield* group.workers[0]!.hear, ["lost", "the driver closed this rank's lanes"])
      publish(group, ["on"], [0, 2])
      assert.deepStrictEqual(yield* group.from(2), ["on"])
    }))

  it.live("a rank that is connected again is a new incarnation: the former worker is told, and reads and writes nothing any more", () =>
    Effect.gen(function*() {
      const group = yield* startGroup(1)
      const [former] = group.workers
      publish(group, ["for the former"])
      yield* group.from(0)
      const handle = yield* group.publisher.connect(0, 1)
      assert.deepStrictEqual(yield* former!.hear, ["lost", "replaced by a later incarnation of this rank"])
      publish(group, ["for the later, before it attaches"])
      const later = yield* start("echo")
      later.send(handle)
      yield* later.hear
      assert.deepStrictEqual(yield* group.from(0), ["for the later, before it attaches"])
    }))

  it.live("a handle opens one rank's lanes once, and none that are gone", () =>
    Effect.gen(function*() {
      const queues = yield* Effect.provide(MessageQueues, ShmQueues.layer)
      const publisher = yield* queues.open({ group: `handles-${process.pid}`, secret: "00", ranks: 1, receive: () => {}, lost: () => {} })
      const handle = yield* publisher.connect(0, 0)
      const worker = { receive: () => {}, lost: () => {} }
      const attach = (handle: Handle) => Effect.map(Effect.flip(Effect.scoped(queues.attach(handle, worker))), (error) => error.issue)
      yield* queues.attach(handle, worker)
      assert.strictEqual(yield* attach(handle), "another reader has attached already")
      assert.include(yield* attach({ transport: "tcp", data: handle.data }), "Expected")
      assert.include(yield* attach({ transport: "shm", data: { ...handle.data as object, ranks: -1 } }), "ranks")
      assert.include(yield* attach({ transport: "shm", data: { ...handle.data as object, incarnation: 7 } }), "header")
      publisher.disconnect(0)
      assert.strictEqual(yield* attach(handle), "ENOENT")
    }))

  it.live("CO-10: a driver that ends, and workers that are killed, leave no file; a worker that lives is told", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const group = yield* Scope.provide(startGroup(3), scope)
      assert.strictEqual(filesOf(group.name).length > 0, true)
      yield* group.workers[0]!.kill("SIGKILL")
      const files = filesOf(group.name).length
      yield* group.publisher.drain(0, 0)
      group.publisher.disconnect(0)
      // Its lanes and its doorbell.
      assert.strictEqual(filesOf(group.name).length, files - 2)
      publish(group, ["to the others"])
      assert.deepStrictEqual([yield* group.from(1), yield* group.from(2)], [["to the others"], ["to the others"]])
      yield* group.workers[1]!.kill("SIGKILL")
      // The worker that was asleep when it was killed does not disturb whoever would wake it.
      publish(group, ["to one"])
      assert.deepStrictEqual(yield* group.from(2), ["to one"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(filesOf(group.name), [])
    }))

  it.live("CO-10: what a killed driver left is swept by who knows the group's name and secret, and nothing else is", () =>
    Effect.gen(function*() {
      const other = `other-${process.pid}`
      const queues = yield* Effect.provide(MessageQueues, ShmQueues.layer)
      yield* queues.open({ group: other, secret: "00", ranks: 1, receive: () => {}, lost: () => {} })
      const others = filesOf(other)
      assert.isNotEmpty(others)
      const [group, secret] = [`swept-${process.pid}`, Crypto.randomBytes(16).toString("hex")]
      const driver = yield* start("driver", group, secret)
      yield* driver.hear
      assert.strictEqual(filesOf(group).length, 4)
      yield* driver.kill("SIGKILL")
      assert.strictEqual(filesOf(group).length, 4)
      const sweep = (secret: string) => Effect.forEach(QueueFiles.of(group, secret), QueueFiles.sweep)
      assert.deepStrictEqual(yield* sweep(Crypto.randomBytes(16).toString("hex")), [{ files: 0, bytes: 0 }, { files: 0, bytes: 0 }])
      assert.strictEqual(filesOf(group).length, 4)
      assert.strictEqual((yield* sweep(secret))[0]!.files, 4)
      assert.deepStrictEqual(filesOf(group), [])
      assert.deepStrictEqual(filesOf(other), others)
    }))

  it.live("queues of the same group in one process leave each other's files alone", () =>
    Effect.gen(function*() {
      const queues = yield* Effect.provide(MessageQueues, ShmQueues.layer)
      const options = { group: `twice-${process.pid}`, secret: "00", ranks: 1, receive: () => {}, lost: () => {} }
      yield* queues.open(options)
      const files = filesOf(options.group)
      yield* Effect.scoped(queues.open(options))
      assert.deepStrictEqual(filesOf(options.group), files)
    }))

  it.live("a worker sleeps within two seconds of its last frame and then uses no processor time", () =>
    Effect.gen(function*() {
      const group = yield* startGroup(1)
      for (let number = 0; number < 2000; number++) {
        publish(group, [number])
        yield* group.from(0)
      }
      const { pid } = group.workers[0]!
      yield* Effect.timeoutOption(Effect.never, "2 seconds")
      const before = processorTicks(pid)
      yield* Effect.timeoutOption(Effect.never, "1 second")
      assert.isAtMost(processorTicks(pid) - before, 1)
      publish(group, ["awake"])
      assert.deepStrictEqual(yield* group.from(0), ["awake"])
    }))

  for (const micros of [0, 20, 100]) {
    it.live(`no ring of a doorbell is lost in 5,000 turns between two processes that look for ${micros} µs and then sleep`, () =>
      Effect.gen(function*() {
        const group = yield* startGroup(1, { spin: `${micros} micros` }, [`${micros}`])
        const next = random(micros)
        for (let number = 0; number < 5000; number++) {
          publish(group, [number])
          // Answers come while this process looks, is about to sleep, and sleeps.
          for (let turns = next(4); turns > 1; turns--) yield* Effect.yieldNow
          assert.deepStrictEqual(yield* group.from(0), [number])
        }
      }))
  }

  it.live("a driver sleeps until half of the frames have come that it awaits; one that does not count, and a change of their number, wake it at once", () =>
    Effect.gen(function*() {
      let awaited = 1
      const group = yield* startGroup(3, {}, [], () => awaited)
      const data = group.handles[0]!.data as unknown as { folder: string; ring: string; ringBytes: number }
      const words = new MappedMemory(yield* Segment.attach(data.folder, data.ring, Layout.group.bytes(data.ringBytes)))
      const asleepFor = (frames: number) =>
        Effect.repeat(Effect.suspend(() => Effect.as(Effect.yieldNow, awaitedBy(words.load(Layout.group.driverParked)))), {
          until: (left) => left === frames
        })
      const change = (to: number, frames: number) => {
        awaited = to
        group.publisher.look!()
        return asleepFor(frames)
      }
      yield* asleepFor(1)
      yield* change(6, 3)
      publish(group, ["counts", 1])
      yield* Effect.forEach([0, 1, 2], group.from)
      yield* asleepFor(3)
      publish(group, ["counts", 2], [0, 1])
      yield* asleepFor(1)
      const unread = yield* Effect.forkChild(group.from(0), { startImmediately: true })
      assert.isUndefined(unread.pollUnsafe())
      yield* change(2, 2)
      assert.deepStrictEqual([yield* Fiber.join(unread), yield* group.from(1)], [["counts", 2], ["counts", 2]])
      publish(group, ["counts", 3], [0])
      yield* asleepFor(1)
      yield* change(6, 3)
      assert.deepStrictEqual(yield* group.from(0), ["counts", 3])
      publish(group, ["counts", 4], [0])
      yield* asleepFor(2)
      publish(group, ["what does not count"], [1])
      assert.deepStrictEqual([yield* group.from(0), yield* group.from(1)], [["counts", 4], ["what does not count"]])
    }))

  it.live("lanes between ranks carry every message in its order, with its channel and sequence, longer than the lane too", () =>
    Effect.gen(function*() {
      const ranks = 3
      const secret = Crypto.randomBytes(16).toString("hex")
      const processes = yield* Effect.forEach(Array.from({ length: ranks }), () => start("peer"))
      processes.forEach(({ send }, rank) => send([rank, ranks, secret]))
      const handles = yield* Effect.forEach(processes, ({ hear }) => hear)
      for (const { send } of processes) send(handles)
      for (let rank = 0; rank < ranks; rank++) {
        const expected = Array.from({ length: ranks }, (_, from) => {
          const digest = Crypto.createHash("sha256")
          const messages = from === rank ? [] : peerMessages(from, rank)
          for (const { bytes, channel, sequence } of messages) digest.update(`${channel} ${sequence} `).update(bytes)
          return [messages.length, digest.digest("hex")]
        })
        assert.deepStrictEqual(yield* processes[rank]!.hear, expected)
      }
      // Ranks that are killed leave their files to the driver that ends their group; here there is none.
      yield* Effect.addFinalizer(() => Effect.sync(() => Files.sweep("/dev/shm", Files.prefix("peers", secret))))
    }))
})
