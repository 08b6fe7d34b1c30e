import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Stream from "effect/Stream"

class Idle extends RpcGroup.make(Rpc.make("hang").annotate(Worker.Concurrent, true)) {}

const entry = Worker.make(Idle, Idle.toLayer({ hang: () => Effect.never }))
const start = (supervision: Supervision.Supervision<"dp" | "tp">) =>
  WorkerGroup.make(Idle, { mesh: Mesh.make({ dp: 3, tp: 2 }), entry, supervision })

const often = Supervision.restart({ max: 100, per: "1 minute", backoff: 0 })
const now = { startImmediately: true } as const

describe("restart", () => {
  it("SU-5: deaths count within some time, or there would be no end to restarts", () => {
    for (const per of [0, -1, NaN]) assert.throws(() => Supervision.restart({ max: 1, per }), RangeError, "per must be longer than nothing")
    assert.throws(() => Supervision.restart({ max: 1, per: 1, backoff: -1 }), RangeError, "backoff must not be negative, not -1ms")
  })
})

describe("choose", () => {
  it.live("SU-9: the policy may depend on the death", () =>
    Effect.gen(function*() {
      const group = yield* start(Supervision.choose((died) => died.rank === 0 ? Supervision.escalate : often))
      yield* group.kill(1)
      yield* Stream.runDrain(Stream.take(Stream.filter(group.events, ({ _tag }) => _tag === "Restarted"), 1))
      yield* group.kill(0)
      assert.strictEqual((yield* Effect.flip(group.failure)).rank, 0)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-9 CO-1: a choice that throws is the group's failure with that death; callers hear of it, and of later ones", () => {
    const logged: Array<unknown> = []
    const logger = Logger.make(({ cause }) => void logged.push(Cause.squash(cause)))
    return Effect.gen(function*() {
      const group = yield* start(Supervision.choose(() => {
        throw new Error("no rule for this")
      }))
      for (const rank of [1, 4]) {
        const flying = yield* Effect.forkChild(Effect.flip(group.at(rank).call.hang()), now)
        yield* group.kill(rank)
        assert.strictEqual((yield* Fiber.join(flying)).reason._tag, "WorkerDied")
      }
      assert.strictEqual((yield* Effect.flip(group.failure)).rank, 1)
      assert.deepStrictEqual(logged.map(String), ["Error: no rule for this"])
    }).pipe(Effect.provide([Cluster.layerMemory, Logger.layer([logger])]))
  })
})
