import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import { Collectives } from "@phalanx/core/Collectives"
import type { GroupEvent } from "@phalanx/core/GroupEvent"
import * as Mesh from "@phalanx/core/Mesh"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Kind } from "../src/internal/frame.ts"

class Counter extends RpcGroup.make(
  Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int }),
  Rpc.make("set", { payload: { to: Schema.Int } }),
  Rpc.make("hang").annotate(Worker.Concurrent, true),
  Rpc.make("meet", { success: Schema.Array(Schema.Int) }),
  /** Keeps its rank's turn until `open`. */
  Rpc.make("hold"),
  Rpc.make("open").annotate(Worker.Concurrent, true),
  Rpc.make("whoami", {
    success: Schema.Struct({
      member: Schema.Int,
      rank: Schema.Int,
      dp: Schema.Int,
      tp: Schema.Int,
      incarnation: Schema.Int,
      epoch: Schema.Int
    })
  })
) {}

/** `setUp` runs in each life's layer. */
const counter = (setUp: (self: Worker.Self["Service"]) => Effect.Effect<void> = () => Effect.void) =>
  Worker.make(
    Counter,
    Counter.toLayer(Effect.gen(function*() {
      const self = yield* Worker.Self
      const collectives = yield* Collectives
      yield* setUp(self)
      const opened = yield* Deferred.make<void>()
      let total = 0
      return Counter.of({
        add: ({ n }) => Effect.sync(() => total += n),
        set: ({ to }) => Effect.sync(() => void (total = to)),
        hang: () => Effect.never,
        hold: () => Deferred.await(opened),
        open: () => Effect.asVoid(Deferred.succeed(opened, void 0)),
        meet: () => Effect.orDie(Effect.map(collectives.allGather(Uint8Array.of(self.member)), (parts) => parts.map((part) => part[0]!))),
        whoami: () =>
          Effect.map(Worker.coordinates("dp", "tp"), (at) => ({
            ...at,
            member: self.member,
            rank: self.rank,
            incarnation: self.incarnation,
            epoch: self.epoch
          })).pipe(Effect.provideService(Worker.Self, self))
      })
    }))
  )

const mesh = Mesh.make({ dp: 3, tp: 2 })
const start = (
  supervision: Supervision.Supervision<"dp" | "tp">,
  options?: Partial<WorkerGroup.Options<typeof Counter, "dp" | "tp">>
) => WorkerGroup.make(Counter, { mesh, entry: counter(), supervision, ...options })

const until = (group: WorkerGroup.WorkerGroup<typeof Counter, "dp" | "tp">, tag: GroupEvent["_tag"], count = 1) =>
  Stream.runCollect(Stream.take(Stream.filter(group.events, (event) => event._tag === tag), count))
const now = { startImmediately: true } as const
const often = Supervision.restart({ max: 10, per: "1 minute" })

describe("restart", () => {
  it.live("SU-1: the dead rank serves again in its place, as its next incarnation with its layer built anew; the others go on", () =>
    Effect.gen(function*() {
      const group = yield* start(often)
      yield* group.call.add({ n: 1 })
      yield* group.kill(3)
      yield* until(group, "Restarted")
      assert.deepStrictEqual(yield* group.at(3).call.whoami(), { member: 3, rank: 3, dp: 1, tp: 1, incarnation: 1, epoch: 0 })
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [2, 2, 2, 1, 2, 2])
      assert.strictEqual((yield* group.membership).members[3]!.incarnation, 1)
      assert.deepStrictEqual((yield* group.counters).fenced, 0)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-2: what was in flight ends in WorkerDied; what is asked meanwhile waits and is answered in order", () =>
    Effect.gen(function*() {
      const setUp = yield* Deferred.make<void>()
      const entry = counter((self) => self.incarnation === 1 ? Deferred.await(setUp) : Effect.void)
      const group = yield* start(often, { entry })
      const flying = yield* Effect.forkChild(Effect.flip(group.at(0).call.hang()), now)
      yield* group.kill(0)
      const { reason } = yield* Fiber.join(flying)
      assert(reason._tag === "WorkerDied")
      assert.deepStrictEqual([reason.rank, reason.reason, reason.method, reason.coordinates], [0, "signal", "hang", { dp: 0, tp: 0 }])
      const waiting = yield* Effect.forEach([1, 2, 3], (n) => Effect.forkChild(group.call.add({ n }), now))
      assert.strictEqual((yield* Effect.flip(group.at(0).call.add({ n: 100 }, { timeout: "5 millis" }))).reason._tag, "CallTimeout")
      assert.deepStrictEqual(yield* group.at(1).call.add({ n: 0 }), 6)
      yield* Deferred.succeed(setUp, void 0)
      assert.deepStrictEqual((yield* Fiber.joinAll(waiting)).map((totals) => totals[0]), [1, 3, 6])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-2: callers hear of a death before survivors are told, and before a process is ended or started", () =>
    Effect.gen(function*() {
      const cluster = yield* Cluster.Cluster
      const queues = yield* MessageQueues
      const seen: Array<string> = []
      const group = yield* start(often).pipe(
        Effect.provideService(Cluster.Cluster, {
          spawn: (options) =>
            Effect.map(Effect.tap(cluster.spawn(options), Effect.sync(() => seen.push("started"))), (process) => ({
              ...process,
              kill: (signal) => Effect.andThen(Effect.sync(() => seen.push("ended")), process.kill(signal))
            }))
        }),
        Effect.provideService(MessageQueues, {
          ...queues,
          open: (options) =>
            Effect.map(queues.open(options), (publisher) => ({
              ...publisher,
              control: (rank, frame) => {
                if (rank > 0 && frame[0] === Kind.Renew) seen.push("told")
                publisher.control(rank, frame)
              }
            }))
        })
      )
      yield* Effect.forkChild(Effect.onExit(group.at(0).call.hang(), () => Effect.sync(() => seen.push("failed"))), now)
      yield* group.kill(0)
      yield* until(group, "Restarted")
      assert.deepStrictEqual(seen.slice(mesh.ranks.length), ["ended", "failed", "ended", ...Array(5).fill("told"), "started"])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-2: with `calls: \"fail\"` what is asked meanwhile fails at once", () =>
    Effect.gen(function*() {
      const setUp = yield* Deferred.make<void>()
      const entry = counter((self) => self.incarnation === 1 ? Deferred.await(setUp) : Effect.void)
      const group = yield* start(Supervision.restart({ max: 1, per: "1 minute", calls: "fail" }), { entry })
      yield* group.kill(0)
      yield* until(group, "Died")
      assert.strictEqual((yield* Effect.flip(group.at(0).call.add({ n: 1 }))).reason._tag, "WorkerDied")
      yield* Deferred.succeed(setUp, void 0)
      yield* until(group, "Restarted")
      assert.strictEqual(yield* group.at(0).call.add({ n: 1 }), 1)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-3: the hook restores state before the calls that wait, and sees the death and the survivors", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const group = yield* start(often, {
        restore: ({ actor, died, group, survivors }) =>
          Effect.gen(function*() {
            seen.push([died.rank, died.incarnation, survivors])
            const [total] = yield* group.slice({ dp: [0], tp: 0 }).call.add({ n: 0 })
            yield* actor.call.set({ to: total! })
          })
      })
      yield* group.call.add({ n: 5 })
      yield* group.kill(4)
      yield* until(group, "Died")
      assert.strictEqual(yield* group.at(4).call.add({ n: 1 }), 6)
      assert.deepStrictEqual(seen, [[4, 0, [0, 1, 2, 3, 5]]])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  for (
    const [scope, incarnations] of [["one", [0, 0, 1, 0, 0, 0]], ["all", [1, 1, 1, 1, 1, 1]], ["rest", [0, 0, 1, 1, 1, 1]]] as const
  ) {
    it.live(`SU-4: scope ${scope} starts ${incarnations.join("")} of six again when rank 2 dies`, () =>
      Effect.gen(function*() {
        const group = yield* start(Supervision.restart({ max: 1, per: "1 minute", scope }))
        const flying = yield* Effect.forkChild(group.exits.hang(), now)
        yield* group.kill(2)
        yield* until(group, "Restarted", incarnations.filter((incarnation) => incarnation === 1).length)
        assert.deepStrictEqual((yield* group.call.whoami()).map(({ incarnation }) => incarnation), [...incarnations])
        assert.deepStrictEqual(yield* group.call.meet(), [0, 1, 2, 3, 4, 5].map(() => [0, 1, 2, 3, 4, 5]))
        yield* Effect.forEach(incarnations.keys(), (rank) => incarnations[rank] === 0 ? group.kill(rank) : Effect.void)
        const exits = yield* Fiber.join(flying)
        for (const [rank, exit] of exits.entries()) {
          const { reason } = yield* Effect.flip(exit)
          assert(reason._tag === "WorkerDied" && reason.incarnation === 0)
          if (rank === 2) assert.strictEqual(reason.reason, "signal")
          else if (incarnations[rank] === 1) assert.strictEqual(reason.reason, "sibling")
        }
      }).pipe(Effect.provide(Cluster.layerMemory)))
  }

  it.effect("SU-5: a death more than the intensity allows is the group's failure; what waits fails with it", () =>
    Effect.gen(function*() {
      const group = yield* start(Supervision.restart({ max: 2, per: "10 seconds", backoff: "1 second" }))
      const died = (count: number) => Effect.forkChild(until(group, "Restarted", count), now)
      yield* group.kill(0)
      yield* until(group, "Restarted", 1)
      yield* TestClock.adjust("2 seconds")
      // The second of a window waits for the back-off.
      yield* group.kill(0)
      yield* until(group, "Died", 2)
      const second = yield* died(2)
      const waiting = yield* Effect.forkChild(group.at(0).call.add({ n: 1 }), now)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(second.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(second)
      assert.strictEqual(yield* Fiber.join(waiting), 1)
      // The window has moved past the first.
      yield* TestClock.adjust("7 seconds")
      yield* group.kill(1)
      yield* until(group, "Died", 3)
      const late = yield* Effect.forkChild(Effect.flip(group.at(1).call.add({ n: 1 })), now)
      yield* group.kill(2)
      const failure = yield* Effect.flip(group.failure)
      assert.deepStrictEqual([failure.rank, failure.incarnation], [2, 0])
      assert.strictEqual((yield* Fiber.join(late)).reason._tag, "WorkerDied")
      assert.strictEqual((yield* until(group, "Escalated")).length, 1)
      assert.strictEqual((yield* Effect.flip(group.at(1).call.add({ n: 1 }))).reason._tag, "WorkerDied")
      assert.strictEqual(yield* group.at(3).call.add({ n: 1 }), 1)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-5: a rank that dies while its state is restored has died once, though the hook fails of it", () =>
    Effect.gen(function*() {
      let restores = 0
      let kill: Effect.Effect<void, unknown> = Effect.void
      const group = yield* start(Supervision.restart({ max: 2, per: "1 minute", backoff: "1 millis" }), {
        restore: ({ actor }) => ++restores === 1 ? Effect.andThen(Effect.suspend(() => kill), actor.call.hang()) : Effect.void
      })
      kill = group.kill(0)
      yield* kill
      yield* until(group, "Restarted")
      const deaths = yield* Stream.runCollect(Stream.takeUntil(group.events, ({ _tag }) => _tag === "Restarted"))
      assert.deepStrictEqual(deaths.flatMap((event) => event._tag === "Died" ? [event.died.reason] : []), ["signal", "signal"])
      assert.strictEqual((yield* group.at(0).call.whoami()).incarnation, 2)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-5: an incarnation that does not get ready is a death of its own, with what its layer failed with", () =>
    Effect.gen(function*() {
      const entry = Worker.make(
        Counter,
        Counter.toLayer(Effect.gen(function*() {
          const self = yield* Worker.Self
          if (self.incarnation > 0) return yield* Effect.die(new Error("no disk"))
          return Counter.of({
            add: ({ n }) => Effect.succeed(n),
            set: () => Effect.void,
            hang: () => Effect.never,
            hold: () => Effect.never,
            open: () => Effect.void,
            meet: () => Effect.succeed([]),
            whoami: () => Effect.never
          })
        }))
      )
      const group = yield* start(Supervision.restart({ max: 2, per: "1 minute", backoff: "1 millis" }), { entry })
      yield* group.kill(5)
      const failure = yield* Effect.flip(group.failure)
      assert.deepStrictEqual([failure.rank, failure.incarnation, failure.reason], [5, 2, "setup"])
      assert(failure.message.includes("no disk"))
      assert.deepStrictEqual((yield* Stream.runCollect(Stream.take(group.deaths, 3))).map(({ incarnation }) => incarnation), [0, 1, 2])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-5 CO-4: a start or a restore that fails is not blamed on a call that only waited for it", () =>
    Effect.gen(function*() {
      let kill: Effect.Effect<void, unknown> = Effect.void
      const group = yield* start(Supervision.restart({ max: 2, per: "1 minute", backoff: "1 millis" }), {
        entry: counter(({ incarnation }) => incarnation === 1 ? Effect.die("no disk") : Effect.void),
        restore: ({ actor }) => Effect.andThen(Effect.forkChild(actor.call.hang(), now), Effect.suspend(() => kill))
      })
      kill = group.kill(0)
      yield* kill
      yield* until(group, "Died")
      const waiting = yield* Effect.forkChild(Effect.flip(group.at(0).call.whoami()), now)
      assert.strictEqual((yield* Fiber.join(waiting)).reason._tag, "WorkerDied")
      const deaths = yield* Stream.runCollect(Stream.take(group.deaths, 3))
      assert.deepStrictEqual(deaths.map(({ method, reason }) => [reason, method]), [
        ["signal", undefined],
        ["setup", undefined],
        ["signal", "hang"]
      ])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-5: a restore that fails is the new incarnation's death", () =>
    Effect.gen(function*() {
      const group = yield* start(Supervision.restart({ max: 1, per: "1 minute" }), { restore: () => Effect.fail("no copy") })
      yield* group.kill(1)
      const failure = yield* Effect.flip(group.failure)
      assert(failure.incarnation === 1 && failure.message.includes("could not be restored: no copy"))
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-6: survivors of a collective fail with CollectiveAborted, and the next one has all ranks again", () =>
    Effect.gen(function*() {
      const group = yield* start(often)
      yield* group.call.meet()
      const meeting = yield* Effect.forkChild(group.slice({ dp: [0, 1] }).exits.meet(), now)
      yield* group.at(0).call.whoami(undefined, { timeout: "1 millis" }).pipe(Effect.ignore)
      yield* group.kill(5)
      for (const exit of yield* Fiber.join(meeting)) {
        const { reason } = yield* Effect.flip(exit)
        assert(reason._tag === "CallDefect" && String(reason.cause).includes("CollectiveAborted"))
      }
      assert.deepStrictEqual((yield* group.call.meet())[5], [0, 1, 2, 3, 4, 5])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-6: a call that was made before the death meets nobody of a later call, however late its turn comes", () =>
    Effect.gen(function*() {
      const group = yield* start(often)
      const holding = yield* Effect.forkChild(group.at(0).call.hold(), now)
      const former = yield* Effect.forkChild(group.exits.meet(), now)
      yield* group.kill(5)
      yield* until(group, "Restarted")
      const next = yield* Effect.forkChild(group.call.meet(), now)
      yield* group.at(0).call.open()
      yield* Fiber.join(holding)
      for (const exit of yield* Fiber.join(former)) assert.strictEqual(exit._tag, "Failure")
      assert.deepStrictEqual((yield* Fiber.join(next))[0], [0, 1, 2, 3, 4, 5])
    }).pipe(Effect.provide(Cluster.layerMemory)))
})

describe("shrink", () => {
  it.live("SU-7: the group goes on without the dead rank's slice: dense ranks, the same members, their state, the next epoch", () =>
    Effect.gen(function*() {
      const group = yield* start(Supervision.shrink({ along: "dp" }))
      const [first, last] = [group.slice({ dp: 0 }), group.slice({ dp: 2 })]
      yield* group.call.add(({ rank }) => ({ n: rank }))
      yield* group.call.meet()
      yield* group.kill(3)
      yield* until(group, "Resized")
      assert.deepStrictEqual(group.mesh.shape, { dp: 2, tp: 2 })
      assert.deepStrictEqual(
        (yield* group.call.whoami()).map(({ dp, epoch, member, rank, tp }) => [member, rank, dp, tp, epoch]),
        [[0, 0, 0, 0, 1], [1, 1, 0, 1, 1], [4, 2, 1, 0, 1], [5, 3, 1, 1, 1]]
      )
      assert.deepStrictEqual(yield* group.call.add({ n: 0 }), [0, 1, 4, 5])
      assert.deepStrictEqual(yield* group.call.meet(), [0, 1, 2, 3].map(() => [0, 1, 4, 5]))
      assert.deepStrictEqual(yield* first.call.add({ n: 0 }), [0, 1])
      const gone = yield* Effect.flip(last.call.add({ n: 0 }))
      assert(gone.reason._tag === "CallRejected" && gone.reason.issue.includes("\"dp\":2"))
      assert.deepStrictEqual(yield* group.at({ dp: 1, tp: 0 }).call.add({ n: 0 }), 4)
      const [resized] = yield* until(group, "Resized")
      assert(resized?._tag === "Resized")
      assert.deepStrictEqual([resized.epoch, resized.left], [1, [2, 3]])
      assert.strictEqual((yield* group.counters).fenced, 0)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-7: what survivors are asked across the resize is answered once; what waited for admission, too", () =>
    Effect.gen(function*() {
      const group = yield* start(Supervision.shrink({ along: "dp" }), { window: { requests: 2 } })
      const calls = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, i) => i),
        () => Effect.forkChild(group.slice({ dp: [0, 2] }).exits.add({ n: 1 }), now)
      )
      yield* group.kill(2)
      const totals = (yield* Fiber.joinAll(calls)).map((exits) => exits.map((exit) => exit._tag === "Success" ? exit.value : exit))
      assert.deepStrictEqual(totals, totals.map((_, i) => [i + 1, i + 1, i + 1, i + 1]))
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-7: whoever is told of a death finds the group as it goes on", () =>
    Effect.gen(function*() {
      const group = yield* start(Supervision.shrink({ along: "dp" }))
      const told = yield* Effect.forkChild(
        Effect.catch(group.at(1).call.hang(), () => group.call.whoami()),
        now
      )
      yield* group.kill(1)
      assert.deepStrictEqual((yield* Fiber.join(told))?.map(({ member }) => member), [2, 3, 4, 5])
      const failed = yield* Effect.forkChild(
        Effect.catch(group.at(1).call.hang(), () => Effect.flip(group.failure)),
        now
      )
      yield* group.kill(3)
      yield* until(group, "Resized", 2)
      yield* group.kill(1)
      assert.strictEqual((yield* Fiber.join(failed))?._tag, "WorkerDied")
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SU-8: below the least size the group fails; several shrinks follow each other", () =>
    Effect.gen(function*() {
      const group = yield* start(Supervision.shrink({ along: "dp", min: 1 }))
      yield* group.kill(0)
      yield* group.kill(5)
      yield* until(group, "Resized", 2)
      assert.deepStrictEqual((yield* group.call.whoami()).map(({ member }) => member), [2, 3])
      assert.deepStrictEqual(yield* group.call.meet(), [[2, 3], [2, 3]])
      yield* group.kill(1)
      assert.strictEqual((yield* Effect.flip(group.failure)).rank, 1)
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
