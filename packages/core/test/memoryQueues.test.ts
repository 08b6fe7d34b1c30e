import { assert, describe, it } from "@effect/vitest"
import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"

describe("queues in memory", () => {
  it.live("MQ-1: what was published before a rank attached comes before what is published as it attaches", () =>
    Effect.gen(function*() {
      const queues = yield* MessageQueues.MessageQueues
      const heard: Array<MessageQueues.Frame> = []
      const publisher = yield* queues.open({ group: "order", secret: "5ec2e7", ranks: 1, receive: () => {}, lost: () => {} })
      const handle = yield* publisher.connect(0, 0)
      publisher.publish(publisher.pack(["before"]), [0])
      yield* Effect.promise(() => Promise.resolve())
      publisher.publish(publisher.pack(["as it attaches"]), [0])
      yield* queues.attach(handle, { receive: (frame) => void heard.push(frame), lost: () => {} })
      publisher.publish(publisher.pack(["after"]), [0])
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.deepStrictEqual(heard, [["before"], ["as it attaches"], ["after"]])
    }).pipe(Effect.scoped, Effect.provide(MessageQueues.layerMemory)))
})
