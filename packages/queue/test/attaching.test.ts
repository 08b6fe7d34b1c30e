import { assert, describe, it } from "@effect/vitest"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Host from "../src/internal/host.ts"

describe("a queue that stands alone", () => {
  it.live("DB-1: who is refused as a reader that has attached already leaves that reader its doorbell", () =>
    Effect.gen(function*() {
      const { machine } = yield* Host.Host
      const [one, other] = [Host.make(machine), Host.make(machine)]
      const writer = yield* MessageQueue.make({ readers: 1 })
      const reader = yield* Effect.provideService(MessageQueue.attach(writer.handle, 0), Host.Host, one)
      const refused = yield* MessageQueue.attach(writer.handle, 0).pipe(Effect.provideService(Host.Host, other), Effect.scoped, Effect.flip)
      assert.match(refused.message, /has attached before/)
      const { parks } = one.poller.stats()
      const taking = yield* Effect.forkChild(reader.take, { startImmediately: true })
      yield* Effect.repeat(Effect.sync(() => one.poller.stats()), {
        until: (now) => now.parks > parks,
        schedule: Schedule.spaced("1 millis")
      })
      yield* writer.publish("news")
      assert.strictEqual(yield* Effect.timeout(Fiber.join(taking), "2 seconds"), "news")
    }).pipe(Effect.scoped))
})
