import { assert, describe, it } from "@effect/vitest"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Natives from "@phalanx/queue/Natives"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Effect from "effect/Effect"
import { statSync } from "node:fs"
import { filesOf } from "./fixtures/processes.ts"

describe("what a machine has to offer", () => {
  it.live("the compiled parts load, with the versions that the package names", () =>
    Effect.gen(function*() {
      const { default: { dependencies } } = yield* Effect.promise(() => import("../package.json", { with: { type: "json" } }))
      for (const part of [Natives.koffi, Natives.zeromq]) {
        const { name, version } = yield* part
        assert.strictEqual(version, dependencies[name])
      }
    }))

  it.live("a group takes exactly what is said to be needed for so many ranks", () =>
    Effect.gen(function*() {
      const queues = yield* Effect.provide(MessageQueues, ShmQueues.layer)
      const [group, secret] = [`need-${process.pid}`, "00"]
      const publisher = yield* queues.open({ group, secret, ranks: 3, receive: () => {}, lost: () => {} })
      for (const rank of [0, 1, 2]) yield* publisher.connect(rank, 0)
      const taken = () => filesOf(group).reduce((sum, file) => sum + statSync(`/dev/shm/${file}`).size, 0)
      const { calls, collectives } = ShmQueues.need(3)
      assert.strictEqual(taken(), calls)
      const [files] = QueueFiles.of(group, secret)
      assert.deepStrictEqual(new Set(filesOf(group).map(QueueFiles.prefixOf)), new Set([files!.prefix]))
      assert.strictEqual(QueueFiles.prefixOf(`${files!.prefix}0123abcd-4711`), files!.prefix)
      assert.isUndefined(QueueFiles.prefixOf("phalanx-made-by-hand"))
      for (const rank of [0, 1, 2]) yield* queues.peers({ group, secret, rank, ranks: 3, receive: () => {}, lost: () => {} })
      assert.strictEqual(taken(), calls + collectives)
    }))
})
