/** What PARITY.md names and no other test shows: waking, looking, waiting for room, and what frames can hold. */
import { assert, describe, it } from "@effect/vitest"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import process from "node:process"
import * as Codec from "../src/internal/codec.ts"
import { find, Ringer } from "../src/internal/doorbell.ts"
import * as Files from "../src/internal/files.ts"
import { libc } from "../src/internal/libc.ts"
import { MappedMemory } from "../src/internal/memory.ts"
import { Poller, type Source } from "../src/internal/poller.ts"
import * as Segment from "../src/internal/segment.ts"
import { resolve, spinWith } from "../src/internal/shmOptions.ts"

const folder = "/dev/shm"
const prefix = Files.prefix("parity-test", `${process.pid}`)

/** A doorbell that nobody answers, and what has been rung. */
const doorbell = Effect.gen(function*() {
  const name = Files.name(prefix)
  const path = Path.join(folder, name)
  yield* Effect.acquireRelease(
    Effect.sync(() => assert.strictEqual(libc().mkfifo(path, 0o600), 0)),
    () => Effect.sync(() => Files.remove(folder, name))
  )
  const fd = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.openSync(path, Fs.constants.O_RDWR | Fs.constants.O_NONBLOCK)),
    (fd) => Effect.sync(() => Fs.closeSync(fd))
  )
  const memory = new MappedMemory(new ArrayBuffer(64))
  const ringer = yield* Effect.acquireRelease(
    Effect.sync(() => new Ringer(find(folder, name), { memory, index: 0 })),
    (ringer) => Effect.sync(() => ringer.close())
  )
  const strokes = (): number => {
    try {
      return Fs.readSync(fd, new Uint8Array(65536))
    } catch {
      return 0
    }
  }
  return { memory, ringer, strokes }
})

describe("waking", () => {
  it.live("who is awake is not rung, and a sleeper once, however much is published: rings do not pile up", () =>
    Effect.gen(function*() {
      const { memory, ringer, strokes } = yield* doorbell
      for (let n = 0; n < 10_000; n++) ringer.wake()
      assert.strictEqual(strokes(), 0)
      memory.store(0, 1)
      for (let n = 0; n < 10_000; n++) ringer.wake()
      assert.strictEqual(strokes(), 1)
      assert.strictEqual(memory.load(0), 0)
    }))

  it.live("a sleeper that needs several messages is rung by the last of them, and by an end at once", () =>
    Effect.gen(function*() {
      const { memory, ringer, strokes } = yield* doorbell
      memory.store(0, 3)
      ringer.wake()
      ringer.wake()
      assert.strictEqual(strokes(), 0)
      ringer.wake()
      assert.strictEqual(strokes(), 1)
      memory.store(0, 3)
      ringer.rouse()
      assert.strictEqual(strokes(), 1)
    }))

  it.live("what is published while a process goes to sleep is found without any ring", () =>
    Effect.gen(function*() {
      let published = false
      const seen: Array<string> = []
      yield* Effect.callback<void>((resume) => {
        const poller = new Poller()
        const source: Source = {
          poll: () => {
            if (!published) return false
            published = false
            seen.push("taken")
            poller.drop(source)
            resume(Effect.void)
            return true
          },
          ready: () => published,
          park: (parked) => {
            seen.push(parked === 1 ? "parks" : "wakes")
            // The writer publishes at the worst moment: it has just seen that nobody sleeps, and does not ring.
            if (parked === 1) published = true
          },
          spin: () => 0
        }
        poller.add(source)
      })
      assert.deepStrictEqual(seen.slice(-3), ["parks", "wakes", "taken"])
    }))

  it("nobody looks for frames where a group has more processes than the machine has processors", () => {
    const options = resolve({ spin: "100 micros" })
    const processors = Os.availableParallelism()
    assert.deepStrictEqual([1, processors, processors + 1, 1000].map((processes) => spinWith(options, processes)), [100, 100, 0, 0])
  })
})

describe("waiting for room", () => {
  it.effect("D5.9 a publisher without room says every 60 seconds whom it waits for; who has a timeout or waits for messages says nothing", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const capture = Logger.make(({ message }) => void lines.push(String(message)))
      yield* Effect.gen(function*() {
        const writer = yield* MessageQueue.make({ readers: 2, capacity: 4096 })
        const reader = yield* MessageQueue.attach(writer.handle, 1)
        const idle = yield* Effect.forkChild(Effect.forever(reader.take), { startImmediately: true })
        yield* writer.publishBytes(new Uint8Array(3000))
        const impatient = yield* Effect.forkChild(Effect.flip(writer.publishBytes(new Uint8Array(1200), { timeout: "30 seconds" })), {
          startImmediately: true
        })
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* Fiber.join(impatient))._tag, "QueueTimeout")
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(lines, [])

        const patient = yield* Effect.forkChild(writer.publishBytes(new Uint8Array(1200)), { startImmediately: true })
        yield* TestClock.adjust("59 seconds")
        assert.deepStrictEqual(lines, [])
        yield* TestClock.adjust("1 second")
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0]!, /^Queue phalanx-queue-\S+ has had no room for 60 seconds: reader 0 \(not attached\) is \d+ bytes behind/)
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual(lines.length, 2)
        yield* writer.remove(0)
        yield* Fiber.join(patient)
        yield* Fiber.interrupt(idle)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(lines.length, 2)
      }).pipe(Effect.provide(Logger.layer([capture])), Effect.provideService(References.MinimumLogLevel, "Info"))
    }))
})

describe("segments and frames", () => {
  it.live("SG-1: a segment has all of its memory before it is mapped", () =>
    Effect.gen(function*() {
      const name = Files.name(prefix)
      yield* Segment.create(folder, name, 1 << 20)
      const { blocks, size } = Fs.statSync(Path.join(folder, name))
      assert.strictEqual(size, 1 << 20)
      assert.isAtLeast(blocks * 512, 1 << 20)
      const error = yield* Effect.flip(Segment.reserve("open queues", folder, 2 ** 50))
      assert.match(error.issue, /^1125899906842624 bytes .* are needed, \d+ .* are free$/)
    }))

  it("frames hold plain data of every kind and give it back as it was, sharing no memory", () => {
    const view = new Uint8Array([9, 1, 2, 9]).subarray(1, 3)
    const frame: ReadonlyArray<unknown> = [
      null,
      true,
      false,
      0,
      1,
      -1,
      127,
      128,
      -129,
      65536,
      2 ** 31,
      2 ** 53,
      -(2 ** 53),
      1.5,
      0.1,
      Infinity,
      -Infinity,
      NaN,
      "",
      "plain",
      "ü€😀\u0000",
      "x".repeat(70_000),
      new Uint8Array(0),
      view,
      new Uint8Array(70_000).fill(3),
      [],
      [[[]]],
      {},
      { "": 1, a: { b: [new Uint8Array([1])] }, "c d": null, constructor: 1 }
    ]
    const packed = Codec.pack(frame)
    const back = Codec.unpack(packed)
    packed.fill(0)
    assert.deepStrictEqual(back, frame)
    assert.strictEqual((back[23] as Uint8Array).constructor, Uint8Array)
  })

  it("what is not plain data is refused, and bytes that are not one array are no frame", () => {
    for (const value of [() => 1, Symbol("s")]) assert.throws(() => Codec.pack([value]))
    for (const bytes of [[], [0xc1], [0x80], [0x01], [0x91], [0x90, 0x90]]) assert.throws(() => Codec.unpack(Uint8Array.from(bytes)))
  })
})
