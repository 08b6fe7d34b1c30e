import { assert, describe, it } from "@effect/vitest"
import { type Frame, MessageQueues } from "@phalanx/core/MessageQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

const count = 100

describe("queues over TCP", () => {
  it.live("CO-4: what a rank had said is heard before its end, though the driver has been held up meanwhile", () =>
    Effect.gen(function*() {
      const queues = yield* MessageQueues
      const heard: Array<Frame> = []
      const publisher = yield* queues.open({
        group: "held up",
        secret: "5ec2e7",
        ranks: 1,
        receive: (_, frame) => void heard.push(frame),
        lost: () => {}
      })
      const rank = yield* queues.attach(yield* publisher.connect(0, 0), { receive: () => {}, lost: () => {} })
      for (let i = 0; i < count; i++) rank.send([i])
      const draining = yield* Effect.forkChild(publisher.drain(0, 0), { startImmediately: true })
      for (const end = performance.now() + 50; performance.now() < end;) { /* as a large payload would */ }
      yield* Fiber.join(draining)
      assert.strictEqual(heard.length, count)
    }).pipe(Effect.scoped, Effect.provide(TcpQueues.layer)))
})
