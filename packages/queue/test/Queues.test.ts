import { assert, describe, it } from "@effect/vitest"
import { type Frame, MessageQueues } from "@phalanx/core/MessageQueues"
import * as IpcQueues from "@phalanx/queue/IpcQueues"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Queues from "@phalanx/queue/Queues"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import { randomBytes } from "node:crypto"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import process from "node:process"

/** Opens, attaches and sends a frame there and back; the transport that was chosen. */
const roundTrip = Effect.gen(function*() {
  const queues = yield* MessageQueues
  const heard = yield* Queue.unbounded<Frame>()
  const publisher = yield* queues.open({
    group: `queues-${process.pid}`,
    secret: randomBytes(16).toString("hex"),
    ranks: 1,
    receive: (_, frame) => Queue.offerUnsafe(heard, frame),
    lost: () => {}
  })
  const handle = yield* publisher.connect(0, 0)
  const asked = yield* Queue.unbounded<Frame>()
  const worker = yield* queues.attach(handle, { receive: (frame) => Queue.offerUnsafe(asked, frame), lost: () => {} })
  publisher.publish(publisher.pack(["there"]), [0])
  worker.send([...(yield* Queue.take(asked)), "and back"])
  assert.deepStrictEqual(yield* Queue.take(heard), ["there", "and back"])
  return publisher.transport
})

describe("queues on one machine", () => {
  it.live("go through shared memory where there is a folder for it", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Effect.provide(roundTrip, Queues.layer), "shm")
    }))

  it.live("go over Unix sockets where there is none, and say so once; TMPDIR may be relative", () =>
    Effect.gen(function*() {
      const before = process.env["TMPDIR"]
      process.env["TMPDIR"] = relative(process.cwd(), tmpdir())
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => before === undefined ? delete process.env["TMPDIR"] : process.env["TMPDIR"] = before)
      )
      const lines: Array<string> = []
      const capture = Logger.make(({ message }) => void lines.push(String(message)))
      const transport = yield* Effect.scoped(roundTrip).pipe(
        Effect.provide(Layer.provideMerge(Queues.layerWith({ folder: "/no/such/folder" }), Logger.layer([capture]))),
        Effect.provideService(References.MinimumLogLevel, "Info")
      )
      assert.strictEqual(transport, "ipc")
      assert.deepStrictEqual(lines.map((line) => line.split(":")[0]), ["Queues go over Unix sockets, not through shared memory"])
    }))

  it.live("CO-10: the sockets that killed workers had for each other go with their driver's queues, unless another driver has the group", () =>
    Effect.gen(function*() {
      const secret = randomBytes(16).toString("hex")
      const { folder, prefix } = QueueFiles.of("sockets", secret)[1]!
      const left = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(folder, `${prefix}-`))),
        (left) => Effect.sync(() => rmSync(left, { recursive: true, force: true }))
      )
      const queues = yield* MessageQueues
      const openAndClose = (isReplaced: boolean) =>
        Effect.scoped(queues.open({ group: "sockets", secret, ranks: 1, receive: () => {}, lost: () => {}, replaced: () => isReplaced }))
      yield* openAndClose(true)
      assert.isTrue(existsSync(left))
      yield* openAndClose(false)
      assert.isFalse(existsSync(left))
    }).pipe(Effect.scoped, Effect.provide(IpcQueues.layer)))
})
