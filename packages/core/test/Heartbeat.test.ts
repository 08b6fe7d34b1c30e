import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Kind } from "../src/internal/frame.ts"

class Nothing extends RpcGroup.make(Rpc.make("wait")) {}

/** A group of one rank that answers no heartbeat, and whose process is as given; told of until it is dead. */
const silent = (state: Cluster.Vitals["state"], cpuMillis: () => number) =>
  Effect.gen(function*() {
    const cluster = yield* Cluster.Cluster
    const queues = yield* MessageQueues
    const group = yield* WorkerGroup.make(Nothing, {
      mesh: Mesh.make({ rank: 1 }),
      entry: Worker.make(Nothing, Nothing.toLayer({ wait: () => Effect.never })),
      heartbeat: { every: "1 second", frozen: "5 seconds", unresponsive: "60 seconds" }
    }).pipe(
      Effect.provideService(Cluster.Cluster, {
        spawn: (options) =>
          Effect.map(cluster.spawn(options), (process) => ({ ...process, vitals: Effect.sync(() => ({ state, cpuMillis: cpuMillis() })) }))
      }),
      Effect.provideService(MessageQueues, {
        ...queues,
        open: (options) =>
          Effect.map(queues.open(options), (publisher) => ({
            ...publisher,
            control: (rank, frame) => frame[0] === Kind.Ping ? undefined : publisher.control(rank, frame)
          }))
      })
    )
    yield* TestClock.adjust("2 minutes")
    const events = yield* Stream.runCollect(Stream.takeUntil(group.events, ({ _tag }) => _tag === "Died"))
    return events.flatMap((event): ReadonlyArray<object> =>
      event._tag === "Died" ? [event.died.death] : event._tag === "Unresponsive" ? [{ unresponsive: event.rank }] : []
    )
  }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory))

describe("a worker that answers no heartbeat", () => {
  for (const state of ["stopped", "alive"] as const) {
    it.effect(`HB-1: is frozen if its process is ${state} and uses no processor time`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* silent(state, () => 70), [{ _tag: "Silent", state: "frozen", millis: 5000 }])
      }))
  }

  it.effect("HB-2: is told as unresponsive while its process computes, and dead at the deadline for that", () => {
    let used = 0
    return Effect.gen(function*() {
      assert.deepStrictEqual(yield* silent("alive", () => used += 20), [
        { unresponsive: 0 },
        { _tag: "Silent", state: "unresponsive", millis: 60_000 }
      ])
    })
  })

  it.effect("HB-2: is not frozen while it waits for a processor", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* silent("running", () => 70), [
        { unresponsive: 0 },
        { _tag: "Silent", state: "unresponsive", millis: 60_000 }
      ])
    }))
})
