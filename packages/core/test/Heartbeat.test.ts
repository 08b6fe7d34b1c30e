import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Kind } from "../src/internal/frame.ts"

class Nothing extends RpcGroup.make(Rpc.make("wait")) {}

const waits = Nothing.toLayer({ wait: () => Effect.never })

/** A group of one rank whose process is as given, and that answers no heartbeat while `isSilent`. */
const start = (
  vitals: () => Cluster.Vitals,
  options?: Partial<WorkerGroup.Options<typeof Nothing, "rank">>,
  isSilent: () => boolean = () => true
) =>
  Effect.gen(function*() {
    const cluster = yield* Cluster.Cluster
    const queues = yield* MessageQueues
    return yield* WorkerGroup.make(Nothing, {
      mesh: Mesh.make({ rank: 1 }),
      entry: Worker.make(Nothing, waits),
      heartbeat: { every: "1 second", frozen: "5 seconds", unresponsive: "60 seconds" },
      readyWithin: "30 seconds",
      ...options
    }).pipe(
      Effect.provideService(Cluster.Cluster, {
        spawn: (options) => Effect.map(cluster.spawn(options), (process) => ({ ...process, vitals: Effect.sync(vitals) }))
      }),
      Effect.provideService(MessageQueues, {
        ...queues,
        open: (options) =>
          Effect.map(queues.open(options), (publisher) => ({
            ...publisher,
            control: (rank, frame) => frame[0] === Kind.Ping && isSilent() ? undefined : publisher.control(rank, frame)
          }))
      })
    )
  })

/** What is told of it until it is dead. */
const silent = (state: Cluster.Vitals["state"], cpuMillis: () => number) =>
  Effect.gen(function*() {
    const group = yield* start(() => ({ state, cpuMillis: cpuMillis() }))
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

  for (const every of [undefined, "3 seconds", "1 hour"] as const) {
    it.effect(`HB-1: is found within its deadline and a fifth, whenever it stops; asked every ${every ?? "so often by default"}`, () =>
      Effect.gen(function*() {
        for (let answers = 0; answers <= 2000; answers += 190) {
          let stopped = false
          const group = yield* start(() => ({ state: stopped ? "stopped" : "alive", cpuMillis: 0 }), {
            heartbeat: { every, frozen: "5 seconds" }
          }, () => stopped)
          yield* TestClock.adjust(answers)
          stopped = true
          const death = yield* Effect.forkChild(Stream.runHead(group.deaths), { startImmediately: true })
          yield* TestClock.adjust(4999)
          assert.isUndefined(death.pollUnsafe())
          yield* TestClock.adjust(1001)
          assert.isDefined(death.pollUnsafe())
        }
      }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))
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

describe("a worker that is started again", () => {
  /** How its second death was told, and after how many seconds; in its second life its process is as given. */
  const again = (state: Cluster.Vitals["state"], options: Partial<WorkerGroup.Options<typeof Nothing, "rank">>) =>
    Effect.gen(function*() {
      let vitals: Cluster.Vitals = { state: "running", cpuMillis: 0 }
      const group = yield* start(() => vitals, { supervision: Supervision.restart({ max: 1, per: "1 hour" }), ...options })
      yield* group.kill(0)
      yield* Stream.runHead(group.deaths)
      vitals = { state, cpuMillis: 0 }
      const began = yield* Clock.currentTimeMillis
      const failed = yield* Effect.forkChild(Effect.flip(group.failure))
      while (failed.pollUnsafe() === undefined) yield* TestClock.adjust("1 second")
      const { death, reason } = yield* Fiber.join(failed)
      return { death, reason, seconds: ((yield* Clock.currentTimeMillis) - began) / 1000 }
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory))

  /** Its first life serves, its second never gets ready. */
  const stuck = Worker.make(
    Nothing,
    Layer.unwrap(
      Effect.map(
        Worker.Self,
        ({ incarnation }) => incarnation === 0 ? waits : Layer.effectDiscard(Effect.never).pipe(Layer.provideMerge(waits))
      )
    )
  )

  it.effect("HB-1: is found if it is frozen while it starts", () =>
    Effect.gen(function*() {
      const { death, seconds } = yield* again("stopped", { entry: stuck })
      assert(death._tag === "Unstarted" && death.issue.includes("frozen"))
      assert.isAtMost(seconds, 6)
    }))

  it.effect("may wait while it starts, for as long as that may take", () =>
    Effect.gen(function*() {
      const { death, seconds } = yield* again("alive", { entry: stuck })
      assert(death._tag === "Unstarted" && death.issue.includes("not ready within"))
      assert.isAtLeast(seconds, 30)
    }))

  it.effect("HB-1: is found if it is frozen while its state is restored", () =>
    Effect.gen(function*() {
      const { reason, seconds } = yield* again("stopped", { restore: ({ actor }) => actor.call.wait() })
      assert.strictEqual(reason, "frozen")
      assert.isAtMost(seconds, 6)
    }))
})
