import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import type { GroupEvent } from "@phalanx/core/GroupEvent"
import * as Mesh from "@phalanx/core/Mesh"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Snapshot from "@phalanx/core/Snapshot"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

class Slow extends RpcGroup.make(Rpc.make("hang"), Rpc.make("stay"), Rpc.make("rank", { success: Schema.Int })) {}
/** Holds back the handlers that cannot be interrupted. */
const gate = Deferred.makeUnsafe<void>()
const slow = (setUp: (self: Worker.Self["Service"]) => Effect.Effect<void> = () => Effect.void) =>
  Worker.make(
    Slow,
    Slow.toLayer(Effect.gen(function*() {
      const self = yield* Worker.Self
      yield* setUp(self)
      return Slow.of({
        hang: () => Effect.never,
        stay: () => Effect.uninterruptible(Deferred.await(gate)),
        rank: () => Effect.succeed(self.rank)
      })
    }))
  )
const now = { startImmediately: true } as const
const until = (events: Stream.Stream<GroupEvent>, tag: GroupEvent["_tag"]) =>
  Stream.runCollect(Stream.take(Stream.filter(events, (event) => event._tag === tag), 1))

describe("a group's snapshot", () => {
  it.effect("tells each rank's open requests with method and age, what waits for room, and what nobody waits for any more", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Slow, { mesh: Mesh.make({ dp: 2 }), entry: slow(), window: { requests: 2, bytes: 4096 } })
      assert.strictEqual((yield* group.snapshot).members.flatMap(({ open }) => open).length, 0)
      const stays = yield* Effect.forkChild(group.at(0).call.stay(), now)
      yield* TestClock.adjust("3 seconds")
      yield* Effect.forkChild(group.call.hang(), now)
      yield* Effect.forkChild(group.at(0).call.rank(), now)
      yield* Fiber.interrupt(stays)
      yield* TestClock.adjust("2 seconds")
      const { counters, epoch, members: [first, second], mesh, window } = yield* group.snapshot
      assert.deepStrictEqual([epoch, mesh, window], [0, { dp: 2 }, { requests: 2, bytes: 4096 }])
      assert.deepStrictEqual(counters, yield* group.counters)
      assert.deepStrictEqual(first!.open, [
        { id: 0, method: "stay", ageMillis: 5000, admitted: true, abandoned: true },
        { id: 1, method: "hang", ageMillis: 2000, admitted: true, abandoned: false },
        { id: 2, method: "rank", ageMillis: 2000, admitted: false, abandoned: false }
      ])
      assert.deepStrictEqual([first!.requests, first!.waiting, second!.requests, second!.waiting], [2, 1, 1, 0])
      assert.isAbove(first!.bytes, second!.bytes)
      assert.deepStrictEqual(second!.open, [{ id: 1, method: "hang", ageMillis: 2000, admitted: true, abandoned: false }])
      // It is plain data that another program may read.
      const text = JSON.stringify(yield* Schema.encodeEffect(Snapshot.Snapshot)(yield* group.snapshot))
      assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(Snapshot.Snapshot)(JSON.parse(text)), yield* group.snapshot)
      yield* Deferred.succeed(gate, void 0)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("tells the state of each rank, and what its transport is given tells the same", () =>
    Effect.gen(function*() {
      const [first, again] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const queues = yield* MessageQueues
      const told = yield* Deferred.make<() => Snapshot.Snapshot>()
      const starting = yield* WorkerGroup.make(Slow, {
        mesh: Mesh.make({ dp: 3 }),
        entry: slow(({ incarnation, rank }) => rank === 1 ? Deferred.await(incarnation === 0 ? first : again) : Effect.void),
        supervision: Supervision.choose((died) =>
          died.incarnation === 0 ? Supervision.restart({ max: 1, per: "1 minute" }) : Supervision.shrink({ along: "dp" })
        )
      }).pipe(
        Effect.provideService(MessageQueues, {
          ...queues,
          open: (options) => Effect.andThen(Deferred.succeed(told, options.snapshot!), queues.open(options))
        }),
        Effect.forkChild(now)
      )
      const snapshot = yield* Deferred.await(told)
      const states = () => snapshot().members.map(({ id, incarnation, rank, state }) => [id, rank, incarnation, state])
      const reach = (states: ReadonlyArray<string>) =>
        Effect.repeat(Effect.sync(snapshot), { until: ({ members }) => members.map(({ state }) => state).join() === states.join() })
      yield* reach(["serving", "starting", "serving"])
      assert.deepStrictEqual(states(), [[0, 0, 0, "serving"], [1, 1, 0, "starting"], [2, 2, 0, "serving"]])
      yield* Deferred.succeed(first, void 0)
      const group = yield* Fiber.join(starting)
      assert.deepStrictEqual(snapshot(), yield* group.snapshot)
      yield* group.kill(1)
      yield* reach(["serving", "restarting", "serving"])
      const waiting = yield* Effect.forkChild(group.at(1).call.rank(), now)
      assert.deepStrictEqual(states()[1], [1, 1, 1, "restarting"])
      assert.deepStrictEqual(snapshot().members[1]!.open.map(({ admitted, method }) => [method, admitted]), [["rank", false]])
      yield* Deferred.succeed(again, void 0)
      assert.strictEqual(yield* Fiber.join(waiting), 1)
      assert.deepStrictEqual(states()[1], [1, 1, 1, "serving"])
      yield* group.kill(1)
      yield* until(group.events, "Resized")
      assert.deepStrictEqual([snapshot().epoch, snapshot().mesh, states()], [1, { dp: 2 }, [[0, 0, 0, "serving"], [2, 1, 0, "serving"]]])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("tells who is dead once the group has failed", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Slow, { mesh: Mesh.make({ dp: 2 }), entry: slow() })
      const call = yield* Effect.forkChild(group.exits.hang(), now)
      yield* group.kill(1)
      yield* Effect.flip(group.failure)
      const [first, second] = (yield* group.snapshot).members
      assert.deepStrictEqual([first!.state, first!.open.length, second!.state, second!.open.length], ["serving", 1, "dead", 0])
      yield* Fiber.interrupt(call)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(call)))
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
