import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import { Collectives } from "@phalanx/core/Collectives"
import type { GroupEvent } from "@phalanx/core/GroupEvent"
import * as Mesh from "@phalanx/core/Mesh"
import * as MessageQueues from "@phalanx/core/MessageQueues"
import { StandbyError } from "@phalanx/core/Standby"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import { type CallError, CallRejected } from "@phalanx/core/WorkerError"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Kind } from "../src/internal/frame.ts"

const Where = Schema.Struct({
  member: Schema.Int,
  incarnation: Schema.Int,
  epoch: Schema.Int,
  rank: Schema.Int,
  of: Schema.Int
})
class Seats extends RpcGroup.make(
  Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int }),
  Rpc.make("where", { success: Where }),
  /** Ids of all that it meets, and its place among them. */
  Rpc.make("meet", { success: Schema.Array(Schema.Int) }).annotate(Worker.Concurrent, true),
  /** The same in a communicator that each call splits anew, and in the one that the layer has split. */
  Rpc.make("split", { success: Schema.Array(Schema.Int) }),
  /** They meet as soon as each is told to `open`. */
  Rpc.make("meetLate", { success: Schema.Array(Schema.Int) }),
  Rpc.make("hold").annotate(Worker.Concurrent, true),
  Rpc.make("open").annotate(Worker.Concurrent, true)
) {}

const seats = (setUp: (self: Worker.Self["Service"]) => Effect.Effect<void> = () => Effect.void) =>
  Worker.make(
    Seats,
    Seats.toLayer(Effect.gen(function*() {
      const self = yield* Worker.Self
      const world = yield* Collectives
      yield* setUp(self)
      const opened = yield* Deferred.make<void>()
      let total = 0
      const met = (parts: ReadonlyArray<Uint8Array>) => parts.map((part) => part[0]!)
      return Seats.of({
        add: ({ n }) => Effect.sync(() => total += n),
        where: () =>
          Effect.sync(() => ({
            member: self.member,
            incarnation: self.incarnation,
            epoch: self.epoch,
            rank: self.rank,
            of: self.worldSize
          })),
        meet: () =>
          Effect.orDie(Effect.map(world.allGather(Uint8Array.of(self.member)), (parts) => {
            assert.strictEqual(met(parts)[world.index], self.member)
            assert.strictEqual(world.ranks.length, parts.length)
            return met(parts)
          })),
        split: () => {
          const own = self.rank < 2 ? [0, 1] : Array.from({ length: self.worldSize - 2 }, (_, i) => i + 2)
          return Effect.orDie(Effect.map(world.split(own).allGather(Uint8Array.of(self.member)), met))
        },
        meetLate: () => Effect.orDie(Effect.andThen(Deferred.await(opened), Effect.map(world.allGather(Uint8Array.of(self.member)), met))),
        hold: () => Deferred.await(opened),
        open: () => Effect.asVoid(Deferred.succeed(opened, void 0))
      })
    }))
  )

type Group = WorkerGroup.WorkerGroup<typeof Seats, "dp">
const start = (dp: number, options?: Partial<WorkerGroup.Options<typeof Seats, "dp">>) =>
  WorkerGroup.make(Seats, { mesh: Mesh.make({ dp }), entry: seats(), capacity: 6, ...options })
const now = { startImmediately: true } as const
const members = (group: Group) => group.workers.map(({ id }) => id)
const seen = (group: Group, tag: GroupEvent["_tag"], count = 1) =>
  Stream.runCollect(Stream.take(Stream.filter(group.events, (event) => event._tag === tag), count))
/** Prepares, begins and retires another size. */
const become = (group: Group, change: Parameters<Group["prepare"]>[0]) =>
  Effect.scoped(Effect.flatMap(group.prepare(change), (standby) => standby.commit))
const memory = Effect.provide(Cluster.layerMemory)

describe("another size", () => {
  it.live("GR-1: is prepared beside the one that serves, whose calls and collectives go on, and whose membership is what it was", () =>
    Effect.scoped(Effect.gen(function*() {
      const began = yield* Deferred.make<void>()
      const joined = yield* Deferred.make<void>()
      const joins = (self: Worker.Self["Service"]) =>
        self.rank < 2 ? Effect.void : Effect.andThen(Deferred.succeed(began, void 0), Deferred.await(joined))
      const group = yield* start(2, { entry: seats(joins) })
      const preparing = yield* Effect.forkChild(group.prepare({ to: { dp: 4 } }), now)
      yield* Deferred.await(began)
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [1, 1])
      assert.deepStrictEqual(yield* group.call.meet(), [[0, 1], [0, 1]])
      yield* Deferred.succeed(joined, void 0)
      const standby = yield* Fiber.join(preparing)
      assert.deepStrictEqual([standby.epoch, standby.mesh.shape, standby.members, standby.joining, standby.leaving], [
        1,
        { dp: 4 },
        [0, 1, 2, 3],
        [2, 3],
        []
      ])
      assert.deepStrictEqual(yield* group.call.meet(), [[0, 1], [0, 1]])
      assert.strictEqual((yield* group.membership).epoch, 0)
      assert.deepStrictEqual(members(group), [0, 1])
    })).pipe(memory))

  it.live("GR-2: begins with one frame: calls made before run in the former epoch, calls made after in the next; who stays keeps id, incarnation and state", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(2)
      yield* group.call.add({ n: 5 })
      const standby = yield* group.prepare({ to: { dp: 4 } })
      const before = yield* Effect.forkChild(group.call.where(), now)
      yield* standby.commit
      const after = yield* group.call.where()
      assert.deepStrictEqual((yield* Fiber.join(before)).map(({ epoch, of }) => [epoch, of]), [[0, 2], [0, 2]])
      assert.deepStrictEqual(after, [0, 1, 2, 3].map((rank) => ({ member: rank, incarnation: 0, epoch: 1, rank, of: 4 })))
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [6, 6, 1, 1])
      assert.deepStrictEqual(yield* group.call.meet(), Array.from({ length: 4 }, () => [0, 1, 2, 3]))
      const [resized] = yield* seen(group, "Resized")
      assert.deepInclude(resized!, { epoch: 1, shape: { dp: 4 }, left: [] })
      assert.deepStrictEqual((yield* group.membership).members.map(({ id, rank }) => [id, rank]), [[0, 0], [1, 1], [
        2,
        2
      ], [3, 3]])
      // Committed once.
      yield* standby.commit
      assert.strictEqual((yield* group.membership).epoch, 1)
      assert.strictEqual((yield* group.counters).fenced, 0)
    })).pipe(memory))

  it.live("GR-2: any member may leave, rank 0 too; ranks are dense, and what is split is split anew in each membership", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(4)
      yield* group.call.add(({ rank }) => ({ n: 10 * rank }))
      assert.deepStrictEqual(yield* group.call.split(), [[0, 1], [0, 1], [2, 3], [2, 3]])
      yield* become(group, { leave: [0] })
      assert.deepStrictEqual(members(group), [1, 2, 3])
      assert.deepStrictEqual(yield* group.call.add({ n: 0 }), [10, 20, 30])
      assert.deepStrictEqual(yield* group.call.split(), [[1, 2], [1, 2], [3]])
      yield* become(group, { to: { dp: 4 } })
      assert.deepStrictEqual(
        yield* group.call.where(),
        ([[1, 0], [2, 0], [3, 0], [0, 1]] as const).map(([member, incarnation], rank) => ({ member, incarnation, epoch: 2, rank, of: 4 }))
      )
      assert.deepStrictEqual(yield* group.call.split(), [[1, 2], [1, 2], [3, 0], [3, 0]])
      yield* become(group, { leave: [2], to: { dp: 4 } })
      assert.deepStrictEqual(members(group), [1, 3, 0, 4])
      assert.deepStrictEqual(yield* group.call.add({ n: 0 }), [10, 30, 0, 0])
      yield* become(group, { to: { dp: 1 } })
      assert.deepStrictEqual(yield* group.call.meet(), [[1]])
      assert.deepStrictEqual((yield* group.counters).fenced, 0)
    })).pipe(memory))

  it.live("GR-8: what names a rank that left is CallRejected, what never was a RangeError at once; a rank that is there again answers", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(3)
      const held = group.slice({ dp: [1, 2] })
      yield* become(group, { to: { dp: 2 } })
      const gone = "the group of epoch 1 has no such rank: its mesh is {\"dp\":2}"
      const asked: ReadonlyArray<Effect.Effect<unknown, CallError<unknown>>> = [
        held.call.where(),
        group.slice({ dp: 2 }).call.where(),
        group.slice({ dp: [0, 2] }).at({ dp: 1 }).call.where(),
        group.at(2).call.where(),
        group.at({ dp: 2 }).call.where(),
        group.call.where(undefined, { replyFrom: 2 }),
        group.callByName("where", undefined, { replyFrom: { dp: 2 } })
      ]
      for (const call of asked) {
        const { reason } = yield* Effect.flip(call)
        assert(reason instanceof CallRejected && reason.issue === gone, String(reason))
      }
      assert.deepInclude(yield* Effect.flip(group.kill(2)), { _tag: "CallRejected", issue: gone })
      const never = [
        () => group.slice({ dp: 3 }),
        () => group.at(3),
        () => group.at({ dp: 3 }),
        () => group.call.where(undefined, { replyFrom: 3 }),
        () => group.kill(3),
        () => group.kill(-1)
      ]
      for (const call of never) assert.throws(call, RangeError, /is not among 0, 1$|is outside 0 … 1$/)
      yield* become(group, { to: { dp: 4 } })
      assert.deepStrictEqual((yield* held.call.where()).map(({ rank }) => rank), [1, 2])
      assert.strictEqual((yield* group.call.where(undefined, { replyFrom: 3 })).rank, 3)
    })).pipe(memory))

  it.live("GR-3: collectives of calls to all meet those that stay, leave and join; of calls to the next, its members in its order", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(3)
      const standby = yield* group.prepare({ leave: [1], to: { dp: 4 } })
      const all = [0, 1, 2, 3, 4]
      assert.deepStrictEqual(standby.members, [0, 2, 3, 4])
      const outcomes = yield* Effect.all([group.call.meet(), standby.all.call.meet(), standby.next.call.meet()], {
        concurrency: "unbounded"
      })
      const of = (ids: ReadonlyArray<number>) => ids.map(() => ids)
      assert.deepStrictEqual(outcomes, [of([0, 1, 2]), of(all), of([0, 2, 3, 4])])
      assert.deepStrictEqual(yield* standby.next.at(3).call.where(), { member: 4, incarnation: 0, epoch: 0, rank: 3, of: 4 })
      yield* standby.commit
      assert.deepStrictEqual(yield* group.call.meet(), of([0, 2, 3, 4]))
    })).pipe(memory))

  it.live("GR-4: that is given up leaves the membership as it was and nothing behind; the next attempt is another one", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(2)
      const scope = yield* Scope.make()
      const standby = yield* Scope.provide(group.prepare({ to: { dp: 3 } }), scope)
      yield* standby.next.call.add({ n: 1 })
      yield* Scope.close(scope, Exit.void)
      assert.instanceOf(yield* Effect.flip(standby.commit), StandbyError)
      const exits = yield* standby.next.exits.add({ n: 1 })
      assert.deepStrictEqual(exits.map(({ _tag }) => _tag), ["Success", "Success", "Failure"])
      assert.deepStrictEqual(yield* group.call.meet(), [[0, 1], [0, 1]])
      yield* become(group, { to: { dp: 3 } })
      assert.deepStrictEqual(yield* group.at(2).call.where(), { member: 2, incarnation: 1, epoch: 1, rank: 2, of: 3 })
      assert.deepStrictEqual(yield* group.call.add({ n: 0 }), [2, 2, 0])
      assert.deepStrictEqual((yield* group.counters).fenced, 0)
    })).pipe(memory))

  it.live("GR-5: a member that leaves answers what it was asked before, and its end is no death", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(2)
      const last = group.at(1)
      const held = yield* Effect.forkChild(last.call.hold(), now)
      const scope = yield* Scope.make()
      const standby = yield* Scope.provide(group.prepare({ to: { dp: 1 } }), scope)
      yield* standby.commit
      const rejected = yield* Effect.flip(last.call.add({ n: 1 }))
      assert.strictEqual(rejected.reason._tag, "CallRejected")
      const retiring = yield* Effect.forkChild(Scope.close(scope, Exit.void), now)
      yield* standby.all.at(1).call.open()
      yield* Fiber.join(held)
      yield* Fiber.join(retiring)
      assert.deepStrictEqual(members(group), [0])
      const reason = (yield* Effect.flip(standby.all.at(1).call.add({ n: 1 }))).reason
      assert(reason._tag === "WorkerDied")
      assert.strictEqual(reason.reason, "left")
      assert.deepStrictEqual(
        yield* Stream.runCollect(Stream.takeUntil(group.events, (event) => event._tag === "Resized")).pipe(
          Effect.map((events) => events.map(({ _tag }) => _tag))
        ),
        ["Ready", "Ready", "Resized"]
      )
    })).pipe(memory))

  it.live("GR-5: the number of a member that leaves is its own until it has answered", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(2)
      const held = yield* Effect.forkChild(group.at(1).call.hold(), now)
      const scope = yield* Scope.make()
      const standby = yield* Scope.provide(group.prepare({ to: { dp: 1 } }), scope)
      yield* standby.commit
      const retiring = yield* Effect.forkChild(Scope.close(scope, Exit.void), now)
      const { joining } = yield* group.prepare({ to: { dp: 2 } })
      assert.deepStrictEqual(joining, [2])
      yield* standby.all.at(1).call.open()
      yield* Fiber.join(held)
      yield* Fiber.join(retiring)
    })).pipe(memory))

  it.live("GR-5: a member that leaves is there until those that stay have entered the epoch: until then nobody else may know of it", () =>
    Effect.scoped(Effect.gen(function*() {
      const queues = yield* MessageQueues.MessageQueues
      const held: Array<() => void> = []
      const late = MessageQueues.MessageQueues.of({
        ...queues,
        open: (options) =>
          Effect.map(queues.open(options), (publisher) => ({
            ...publisher,
            publish: (packed, ids) => {
              const isLate = (id: number) => id === 0 && publisher.unpack(packed)[0] === Kind.Epoch
              publisher.publish(packed, ids.filter((id) => !isLate(id)))
              if (ids.some(isLate)) held.push(() => publisher.publish(packed, [0]))
            }
          }))
      })
      const group = yield* Effect.provideService(start(2), MessageQueues.MessageQueues, late)
      const scope = yield* Scope.make()
      const standby = yield* Scope.provide(group.prepare({ to: { dp: 1 } }), scope)
      yield* standby.commit
      const entered = yield* Effect.forkChild(standby.entered, now)
      const retiring = yield* Effect.forkChild(Scope.close(scope, Exit.void), now)
      assert.strictEqual((yield* standby.all.at(1).call.where()).member, 1)
      assert.isUndefined(entered.pollUnsafe())
      held.forEach((publish) => publish())
      yield* Fiber.join(entered)
      yield* Fiber.join(retiring)
      assert.strictEqual((yield* Effect.flip(standby.all.at(1).call.where())).reason._tag, "WorkerDied")
    })).pipe(memory))

  for (
    const [what, again] of [
      ["a second size", (group: Group) => become(group, { leave: [1] })],
      ["a death", (group: Group) => Effect.andThen(group.kill(1), seen(group, "Resized", 2))]
    ] as const
  ) {
    it.live(`GR-5: a member that leaves hears what it is told after ${what}, and is kept no longer than by what it still does`, () =>
      Effect.scoped(Effect.gen(function*() {
        const group = yield* start(3, { supervision: Supervision.shrink({ along: "dp" }) })
        const held = yield* Effect.forkChild(group.at(2).call.hold(), now)
        const scope = yield* Scope.make()
        const standby = yield* Scope.provide(group.prepare({ leave: [2] }), scope)
        yield* standby.commit
        const retiring = yield* Effect.forkChild(Scope.close(scope, Exit.void), now)
        yield* again(group)
        assert.deepStrictEqual(members(group), [0])
        yield* Fiber.interrupt(held)
        yield* Fiber.join(retiring)
        assert.deepStrictEqual(yield* group.counters, { late: 1, unexpected: 0, fenced: 0 })
      })).pipe(memory))
  }

  for (const [who, leave] of [["stays", [2]], ["leaves", [1, 2]]] as const) {
    it.live(`GR-5: a member that leaves waits in no collective for one that ${who} and is gone`, () =>
      Effect.scoped(Effect.gen(function*() {
        const cluster = yield* Cluster.Cluster
        const kill: Array<Effect.Effect<void>> = []
        const spawn: typeof cluster.spawn = (options) =>
          Effect.tap(cluster.spawn(options), (process) => Effect.sync(() => kill[options.identity.member] = process.kill("SIGKILL")))
        const group = yield* Effect.provideService(
          start(3, { supervision: Supervision.restart({ max: 9, per: "1 minute" }) }),
          Cluster.Cluster,
          { ...cluster, spawn }
        )
        const [, , waiting] = yield* group.fork.meetLate()
        yield* group.slice({ dp: [1, 2] }).call.open()
        const scope = yield* Scope.make()
        yield* Effect.flatMap(Scope.provide(group.prepare({ leave }), scope), ({ commit }) => commit)
        const retiring = yield* Effect.forkChild(Scope.close(scope, Exit.void), now)
        yield* kill[1]!
        const error = yield* Effect.flip(Fiber.join(waiting!))
        assert(error.reason._tag === "CallDefect", error.message)
        assert.match(error.message, /is gone/)
        yield* Fiber.join(retiring)
      })).pipe(memory))
  }

  it.live("GR-6: is spoilt by a death: of one that joins without harm to the group, of one that serves by its policy", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(3, { supervision: Supervision.shrink({ along: "dp" }), entry: seats() })
      const scope = yield* Scope.make()
      const standby = yield* Scope.provide(group.prepare({ to: { dp: 4 } }), scope)
      yield* group.kill(2)
      const spoilt = yield* Effect.flip(standby.failure)
      assert.include(spoilt.message, "rank 2 is gone")
      assert.include((yield* Effect.flip(standby.commit)).message, "rank 2 is gone")
      yield* seen(group, "Resized")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* group.call.meet(), [[0, 1], [0, 1]])
      yield* become(group, { to: { dp: 3 } })
      assert.deepStrictEqual((yield* group.call.meet())[0]!.length, 3)
    })).pipe(memory))

  it.live("GR-6: does not come to be if one that joins cannot start, and the group serves on", () =>
    Effect.scoped(Effect.gen(function*() {
      const fails = (self: Worker.Self["Service"]) => self.rank < 2 ? Effect.void : Effect.die(new Error("no room"))
      const group = yield* start(2, { entry: seats(fails) })
      const error = yield* Effect.flip(Effect.scoped(group.prepare({ to: { dp: 3 } })))
      assert.strictEqual(error._tag, "SpawnError")
      assert.include(error.message, "rank 2")
      assert.include(error.message, "no room")
      assert.deepStrictEqual(yield* group.call.meet(), [[0, 1], [0, 1]])
    })).pipe(memory))

  it.live("GR-7: that cannot be is refused with the reason", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* start(2)
      const refused = (change: any) => Effect.map(Effect.flip(Effect.scoped(group.prepare(change))), ({ message }) => message)
      assert.include(yield* refused({ to: { dp: 2 } }), "of that size already")
      assert.include(yield* refused({ to: { dp: 0 } }), "dp cannot be 0")
      assert.include(yield* refused({ to: { tp: 2 } }), "no dimension tp")
      assert.include(yield* refused({ leave: [7] }), "no member 7")
      assert.include(yield* refused({ leave: [1, 1] }), "cannot leave twice")
      assert.include(yield* refused({ leave: [0, 1] }), "no whole slices")
      assert.include(yield* refused({ to: { dp: 7 } }), "7 members at once")
      const standby = yield* group.prepare({ to: { dp: 3 } })
      assert.include(yield* refused({ to: { dp: 4 } }), "another size is being prepared")
      yield* standby.commit
      assert.deepStrictEqual(members(group), [0, 1, 2])
    })).pipe(memory))
})
