import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import type { GroupEvent } from "@phalanx/core/GroupEvent"
import * as Mesh from "@phalanx/core/Mesh"
import * as Metrics from "@phalanx/core/Metrics"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
class Odd extends RpcGroup.make(
  Rpc.make("ok"),
  Rpc.make("refuse", { error: Refused }),
  Rpc.make("hang")
) {}
const odd = Worker.make(Odd, Odd.toLayer({ ok: () => Effect.void, refuse: () => Effect.fail(new Refused()), hang: () => Effect.never }))

/** What Effect's registry says of the metrics of one group: name, attributes, and what it counts. */
const said = (group: string) =>
  Effect.map(Metric.snapshot, (metrics) => {
    const lines = metrics.flatMap(({ attributes, id, state }) => {
      const { group: of, ...rest } = (attributes ?? {}) as Record<string, string>
      if (of !== group) return []
      const value = "count" in state ? Number(state.count) : "value" in state ? Number(state.value) : NaN
      return [[`${id} ${Object.values(rest).join(" ")}`.trim(), value] as const]
    })
    return new Map(lines)
  })

const seen = (group: WorkerGroup.WorkerGroup<typeof Odd, "rank">, tag: GroupEvent["_tag"], count: number) =>
  Stream.runDrain(Stream.take(Stream.filter(group.events, ({ _tag }) => _tag === tag), count))
const restarted = (group: WorkerGroup.WorkerGroup<typeof Odd, "rank">, count: number) =>
  Effect.andThen(
    Effect.forkChild(seen(group, "Restarted", count), { startImmediately: true }),
    (fiber) => Effect.andThen(TestClock.adjust("1 second"), Fiber.join(fiber))
  )

describe("Metrics", () => {
  it.effect("MT-1: tell calls by method and outcome, windows by rank, deaths by reason, and nothing of what was before", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Odd, {
        mesh: Mesh.make({ rank: 2 }),
        entry: odd,
        supervision: Supervision.restart({ max: 5, per: "1 minute" })
      })
      yield* group.kill(1)
      yield* restarted(group, 1)
      yield* Fiber.interrupt(yield* Effect.forkChild(group.at(0).call.hang(), { startImmediately: true }))
      yield* group.call.ok()
      assert.strictEqual((yield* group.counters).late, 1)
      yield* Metrics.publish(group, { group: "metrics" })
      yield* group.call.ok()
      yield* Effect.exit(group.at(1).call.refuse())
      yield* Effect.forkChild(Effect.exit(group.at(0).call.hang()), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const before = yield* said("metrics")
      assert.deepStrictEqual(
        [
          "phalanx_calls ok success",
          "phalanx_calls refuse failure",
          "phalanx_call_millis ok",
          "phalanx_open_requests 0",
          "phalanx_open_requests 1",
          "phalanx_ranks"
        ].map((name) => before.get(name)),
        [2, 1, 2, 1, 0, 2]
      )
      yield* group.kill(0)
      yield* restarted(group, 2)
      yield* TestClock.adjust("1 second")
      const after = yield* said("metrics")
      assert.deepStrictEqual(
        [
          "phalanx_calls hang WorkerDied",
          "phalanx_deaths signal",
          "phalanx_restarts",
          "phalanx_open_requests 0",
          "phalanx_dropped late"
        ].map((name) => after.get(name)),
        [1, 1, 1, 0, undefined]
      )
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.effect("MT-1: gauges are 0 for a rank that has left, and all of them when nobody publishes any more", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Odd, {
        mesh: Mesh.make({ rank: 2 }),
        entry: odd,
        supervision: Supervision.shrink({ along: "rank" })
      })
      const scope = yield* Scope.make()
      yield* Scope.provide(Metrics.publish(group, { group: "shrunk" }), scope)
      yield* Effect.forkChild(Effect.exit(group.call.hang()), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const gauges = Effect.map(
        said("shrunk"),
        (told) => ["phalanx_ranks", "phalanx_open_requests 0", "phalanx_open_requests 1"].map((name) => told.get(name))
      )
      assert.deepStrictEqual(yield* gauges, [2, 1, 1])
      yield* group.kill(1)
      yield* seen(group, "Resized", 1)
      yield* Effect.forkChild(Effect.exit(group.call.hang()), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* gauges)[0], 1)
      assert.deepStrictEqual((yield* gauges)[2], 0)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* gauges, [0, 0, 0])
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
