import { assert, describe, it } from "@effect/vitest"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { filesOf, processorTicks, start } from "./fixtures/processes.ts"
import { random } from "./fixtures/random.ts"

const megabyte = 1048576

const ended = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.map(Fiber.await(fiber), (exit) => Exit.isSuccess(exit) ? "success" : String(Exit.findErrorOption(exit)))

// Starting a process takes a busy machine seconds.
describe("a queue that stands alone", { timeout: 60_000 }, () => {
  it.live("D5.1 gives every reader every message, in order, and makes the writer wait for the slowest", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 2, capacity: 4096 })
      const fast = yield* MessageQueue.attach(writer.handle, 0)
      const slow = yield* MessageQueue.attach(writer.handle, 1)
      const taking = yield* Effect.forkChild(Stream.runCollect(Stream.take(fast.stream, 1000)))
      const publishing = yield* Effect.forkChild(Effect.forEach(Array.from({ length: 1000 }, (_, i) => i), (i) => writer.publish({ i })))
      const first = yield* slow.take
      assert.deepStrictEqual(first, { i: 0 })
      assert.isUndefined(publishing.pollUnsafe())
      for (let i = 1; i < 1000; i++) assert.deepStrictEqual(yield* slow.take, { i })
      yield* Fiber.join(publishing)
      assert.deepStrictEqual(yield* Fiber.join(taking), Array.from({ length: 1000 }, (_, i) => ({ i })))
    }))

  it.live("D5.1 gives a reader that attaches late all that was published before", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 1 })
      yield* writer.publish("early")
      yield* writer.publishBytes(new Uint8Array([1, 2]))
      const reader = yield* MessageQueue.attach(writer.handle, 0)
      assert.strictEqual(yield* reader.take, "early")
      assert.deepStrictEqual(yield* reader.takeBytes, new Uint8Array([1, 2]))
    }))

  it.live("D5.2 makes a segment of exactly the ring and its words, zeroed, mode 0600", () =>
    Effect.gen(function*() {
      const { handle } = yield* MessageQueue.make({ readers: 3, capacity: 8192 })
      const stat = Fs.statSync(Path.join(handle.folder, handle.segment))
      assert.strictEqual(stat.size, (8 + 3 * 5) * 64 + 8192)
      assert.strictEqual(stat.mode & 0o777, 0o600)
      assert.strictEqual(stat.blocks * 512 >= stat.size, true)
    }))

  it.live("D5.3 carries messages of every length round the boundaries of a piece and of the ring", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 1, capacity: 4096 })
      const reader = yield* MessageQueue.attach(writer.handle, 0)
      for (const length of [0, 1, 7, 8, 9, 1000, 1023, 1024, 1025, 4071, 4072, 4073, 4095, 4096, 4097, 100_000]) {
        const bytes = Crypto.randomBytes(length)
        const publishing = yield* Effect.forkChild(writer.publishBytes(bytes), { startImmediately: true })
        assert.deepStrictEqual(Buffer.from(yield* reader.takeBytes), bytes, `${length} bytes`)
        yield* Fiber.join(publishing)
      }
    }))

  for (const kind of ["value", "bytes"] as const) {
    for (const length of [megabyte - 2, megabyte, 2 * megabyte]) {
      it.live(`D5.4 a ${kind === "bytes" ? "message of" : "value that holds"} ${length} bytes stays as it is after the ring was used again`, () =>
        Effect.gen(function*() {
          const writer = yield* MessageQueue.make({ readers: 1, capacity: megabyte })
          const reader = yield* MessageQueue.attach(writer.handle, 0)
          const bytes = new Uint8Array(Crypto.randomBytes(length))
          const publish = kind === "bytes" ? writer.publishBytes(bytes) : writer.publish({ bytes, of: "kind" })
          const publishing = yield* Effect.forkChild(publish, { startImmediately: true })
          const value = yield* reader.take
          yield* Fiber.join(publishing)
          const kept = kind === "bytes" ? value as Uint8Array : (value as { bytes: Uint8Array }).bytes
          for (let i = 0; i < 8; i++) {
            yield* writer.publishBytes(new Uint8Array(megabyte / 5).fill(i))
            yield* reader.takeBytes
          }
          assert.strictEqual(Buffer.compare(kept, bytes), 0)
          assert.strictEqual(kept.byteOffset, 0)
          kept.fill(7)
        }))
    }
  }

  it.live("D5.5 a reader that waits uses no processor time, and wakes for the next message", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 1 })
      const { hear, pid, send } = yield* start("reader")
      send([writer.handle, 0, false])
      yield* hear
      yield* writer.publish("one")
      // Whatever start-up work is left is done when a whole second of our clock has used none of its.
      const quiet = Effect.gen(function*() {
        const before = processorTicks(pid)
        yield* Effect.timeoutOption(Effect.never, "1 second")
        return processorTicks(pid) - before
      })
      yield* Effect.repeat(quiet, { until: (ticks) => ticks === 0 })
      yield* writer.publish("two")
      yield* writer.close
      assert.deepStrictEqual((yield* hear as Effect.Effect<[number, string]>)[0], 2)
    }))

  it.live("D5.6 a message whose consumer throws, or that cannot be read, is consumed and the next one follows", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 1, capacity: 4096 })
      const reader = yield* MessageQueue.attach(writer.handle, 0)
      for (let round = 0; round < 100; round++) {
        yield* writer.publish({ round, padding: "x".repeat(500) })
        const exit = yield* Effect.exit(Effect.flatMap(reader.take, () => Effect.die("consumer")))
        assert.isTrue(Exit.isFailure(exit))
      }
      yield* writer.publish("after")
      assert.strictEqual(yield* reader.take, "after")
    }))

  for (const spin of ["0 micros", "10 seconds"] as const) {
    it.live(`D5.7 closing ends the take of a reader that ${spin === "0 micros" ? "sleeps" : "looks"} with QueueClosed, in this process and in another`, () =>
      Effect.gen(function*() {
        const writer = yield* MessageQueue.make({ readers: 2, spin })
        const reader = yield* MessageQueue.attach(writer.handle, 0)
        const other = yield* start("reader")
        other.send([writer.handle, 1, false])
        yield* other.hear
        const taking = yield* Effect.forkChild(Effect.flip(reader.take), { startImmediately: true })
        yield* writer.close
        assert.strictEqual((yield* Fiber.join(taking))._tag, "QueueClosed")
        assert.strictEqual((yield* other.hear as Effect.Effect<[number, string]>)[0], 0)
        assert.strictEqual((yield* Effect.flip(writer.publish(1)))._tag, "QueueClosed")
        assert.strictEqual((yield* Effect.flip(reader.take))._tag, "QueueClosed")
      }))
  }

  it.live("D5.7 a closed queue still gives what was published before", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const writer = yield* Scope.provide(MessageQueue.make({ readers: 1 }), scope)
      const reader = yield* MessageQueue.attach(writer.handle, 0)
      yield* writer.publish(1)
      yield* writer.publish(2)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Stream.runCollect(reader.stream), [1, 2])
    }))

  it.live("D5.8 publish gives up after its timeout, at once for zero and less, and what it gave up is never delivered", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 1, capacity: 4096 })
      const reader = yield* MessageQueue.attach(writer.handle, 0)
      yield* writer.publishBytes(new Uint8Array(3000), { timeout: 0 })
      for (const timeout of [0, -5, "20 millis"] as const) {
        // Longer than a piece: some of it is in the ring when it is given up.
        const error = yield* Effect.flip(writer.publishBytes(new Uint8Array(2000), { timeout }))
        assert.strictEqual(error._tag, "QueueTimeout")
        assert.include(error.message, `reader 0 (process ${process.pid}) is `)
      }
      assert.strictEqual((yield* reader.takeBytes).length, 3000)
      yield* writer.publish("next", { timeout: 0 })
      assert.strictEqual(yield* reader.take, "next")
    }))

  it.live("D5.8 take can be given up at any time and loses nothing", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 1 })
      const reader = yield* MessageQueue.attach(writer.handle, 0)
      for (const timeout of ["0 millis", "5 millis"] as const) {
        assert.strictEqual((yield* Effect.flip(Effect.timeout(reader.take, timeout)))._tag, "TimeoutError")
      }
      yield* writer.publish("kept")
      assert.strictEqual(yield* Effect.timeout(reader.take, "0 millis"), "kept")
    }))

  it.effect("D5.9 the log names, every 60 seconds, the readers for which a publisher waits, and is silent otherwise", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const capture = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
      const writer = yield* MessageQueue.make({ readers: 2, capacity: 4096 })
      const reader = yield* MessageQueue.attach(writer.handle, 0)
      yield* writer.publishBytes(new Uint8Array(3000))
      yield* reader.takeBytes
      yield* TestClock.adjust("10 minutes")
      const publishing = yield* writer.publishBytes(new Uint8Array(3000)).pipe(
        Effect.provide(capture),
        Effect.forkChild({ startImmediately: true })
      )
      assert.deepStrictEqual(lines, [])
      for (const count of [1, 2]) {
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual(lines.length, count)
        assert.match(
          lines[count - 1]!,
          /^Queue phalanx-queue-\w+ has had no room for 60 seconds: reader 1 \(not attached\) is \d+ bytes behind/
        )
      }
      yield* writer.remove(1)
      yield* Fiber.join(publishing)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(lines.length, 2)
    }))

  it.live("D5.10 refuses readers it was not made for, a second reader of the same number, and what is no handle", () =>
    Effect.gen(function*() {
      const { handle } = yield* MessageQueue.make({ readers: 2 })
      yield* MessageQueue.attach(handle, 1)
      assert.include((yield* Effect.flip(MessageQueue.attach(handle, 1))).issue, "reader 1 has attached before")
      assert.include((yield* Effect.flip(MessageQueue.attach(handle, 2))).issue, "no reader 2 of 2")
      assert.include((yield* Effect.flip(MessageQueue.attach({ ...handle, capacity: "large" }, 0))).issue, "capacity")
      assert.include(
        (yield* Effect.flip(MessageQueue.attach({ ...handle, segment: "../etc/passwd" }, 0))).issue,
        "not the name of a segment"
      )
      assert.include((yield* Effect.flip(MessageQueue.attach({ ...handle, capacity: handle.capacity * 2 }, 0))).issue, "were announced")
      assert.include((yield* Effect.flip(MessageQueue.attach({ ...handle, capacity: 4096 }, 0))).issue, "header")
      assert.strictEqual((yield* Effect.flip(MessageQueue.make({ readers: 0 })))._tag, "QueueError")
    }))

  it.live("D5.11 attaches by a handle that went through JSON; the maker removes the files, whoever ends first", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { handle, publish } = yield* Scope.provide(MessageQueue.make({ readers: 1, name: "d511" }), scope)
      const reader = yield* MessageQueue.attach(JSON.parse(JSON.stringify(handle)), 0)
      yield* publish("through")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(filesOf("d511"), [])
      assert.strictEqual(yield* reader.take, "through")
      assert.strictEqual((yield* Effect.flip(MessageQueue.attach(handle, 0))).issue, "ENOENT")
    }))

  it.live("D5.13 ten thousand arrays reach three processes that pause now and then, equal and in order", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 3, capacity: 65536 })
      const readers = yield* Effect.forEach([0, 1, 2], () => start("reader"))
      readers.forEach(({ send }, index) => send([writer.handle, index, true]))
      yield* writer.ready
      const digest = Crypto.createHash("sha256")
      const next = random(13)
      for (let i = 0; i < 10_000; i++) {
        const bytes = new Uint8Array(next(16384)).fill(i)
        digest.update(bytes)
        yield* writer.publishBytes(bytes)
      }
      yield* writer.close
      const expected = digest.digest("hex")
      for (const { hear } of readers) {
        yield* hear
        assert.deepStrictEqual(yield* hear, [10_000, expected])
      }
    }))

  it.live("D5.14 ready ends on both sides when the last reader has attached, or was removed", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 3 })
      const first = yield* MessageQueue.attach(writer.handle, 0)
      const waiting = yield* Effect.forkChild(Effect.all([writer.ready, first.ready], { concurrency: 2 }), { startImmediately: true })
      const other = yield* start("reader")
      other.send([writer.handle, 1, false])
      yield* other.hear
      assert.isUndefined(waiting.pollUnsafe())
      yield* writer.remove(2)
      assert.strictEqual(yield* ended(waiting), "success")
    }))

  it.live("D5.15 a publisher goes on when the reader it waits for is removed, and when it leaves", () =>
    Effect.gen(function*() {
      const writer = yield* MessageQueue.make({ readers: 2, capacity: 4096 })
      const other = yield* start("reader")
      other.send([writer.handle, 0, false])
      yield* other.hear
      const scope = yield* Scope.make()
      yield* Scope.provide(MessageQueue.attach(writer.handle, 1), scope)
      yield* other.kill("SIGKILL")
      const publishing = yield* Effect.forkChild(writer.publishBytes(new Uint8Array(10_000)), { startImmediately: true })
      yield* writer.remove(0)
      assert.isUndefined(publishing.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* ended(publishing), "success")
    }))
})
