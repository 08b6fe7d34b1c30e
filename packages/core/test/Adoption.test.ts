import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import { Collectives } from "@phalanx/core/Collectives"
import * as Mesh from "@phalanx/core/Mesh"
import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Keeping from "../../../test/harness/keeping.ts"
import { Kind } from "../src/internal/frame.ts"
import { standing } from "../src/internal/takeover.ts"

class Counter extends RpcGroup.make(
  Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int }),
  /** Keeps its turn until it is interrupted, which counts 100. */
  Rpc.make("hold"),
  Rpc.make("numbers", { success: Schema.Int, stream: true }).annotate(Worker.Concurrent, true),
  Rpc.make("meet", { success: Schema.Array(Schema.Int) })
) {}

const worker = Worker.make(
  Counter,
  Counter.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const world = yield* Collectives
    let total = 0
    return Counter.of({
      add: ({ n }) => Effect.sync(() => total += n),
      hold: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (total += 100))),
      numbers: () => Stream.concat(Stream.make(1, 2), Stream.never),
      meet: () => Effect.orDie(Effect.map(world.allGather(Uint8Array.of(self.rank)), (parts) => parts.map((part) => part[0]!)))
    })
  }))
)

const three = { mesh: Mesh.make({ rank: 3 }), entry: worker, heartbeat: false, capacity: 6 } as const
const restarting = Supervision.restart({ max: 9, per: "1 minute" })
const inMemory = <A, E>(test: Effect.Effect<A, E, Cluster.Cluster | MessageQueues.MessageQueues | Scope.Scope>) =>
  test.pipe(Effect.scoped, Effect.provide(Cluster.layerMemory))

/** A group whose driver is as good as gone, and how another one takes it over. */
const orphaned = Effect.fnUntraced(function*(options: Partial<WorkerGroup.Options<typeof Counter, "rank">> = {}) {
  const { cluster, kept } = yield* Keeping.make
  const group = yield* Effect.provideService(WorkerGroup.make(Counter, { ...three, ...options }), Cluster.Cluster, cluster)
  const adopt = (options: Partial<WorkerGroup.AdoptOptions<typeof Counter, "rank">> = {}) =>
    Effect.provideService(WorkerGroup.adopt(Counter, { ...three, group: group.name, ...options }), Cluster.Cluster, cluster)
  return { adopt, group, kept }
})

describe("a driver that takes over", () => {
  it.live("AD-1 AD-2: has the members as they are, with their state; what they had been asked is interrupted and answered to nobody", () =>
    inMemory(Effect.gen(function*() {
      const { adopt, group } = yield* orphaned()
      yield* group.call.add({ n: 5 })
      const asked = yield* Effect.forkChild(
        Effect.all([group.exits.hold(), group.exits.add({ n: 1000 }), Stream.runDrain(group.at(1).stream.numbers())], {
          concurrency: "unbounded"
        }),
        { startImmediately: true }
      )
      yield* Stream.runDrain(Stream.take(group.at(1).stream.numbers(), 1))
      const next = yield* adopt()
      assert.deepStrictEqual(yield* next.call.add({ n: 1 }), [106, 106, 106])
      assert.deepStrictEqual(yield* next.call.meet(), [[0, 1, 2], [0, 1, 2], [0, 1, 2]])
      assert.deepStrictEqual(next.workers, group.workers)
      assert.deepStrictEqual(yield* next.counters, { late: 0, unexpected: 0, fenced: 0 })
      assert.isUndefined(asked.pollUnsafe())
      // And again: no id of one driver's calls is one of another's.
      const third = yield* adopt()
      assert.deepStrictEqual(yield* third.call.add({ n: 1 }), [107, 107, 107])
      assert.deepStrictEqual(yield* third.counters, { late: 0, unexpected: 0, fenced: 0 })
      yield* Fiber.interrupt(asked)
    })))

  it.live("AD-2: is given nothing of what a worker hears from the former one at the moment of the claim", () =>
    inMemory(Effect.gen(function*() {
      const queues = yield* MessageQueues.MessageQueues
      let holds = false
      const late = MessageQueues.MessageQueues.of({
        ...queues,
        attach: Effect.fnUntraced(function*(handle, options) {
          const held: Array<MessageQueues.Frame> = []
          const receive = (frame: MessageQueues.Frame) =>
            holds && frame[0] === Kind.Request ? void held.push(frame) : options.receive(frame)
          const subscriber = yield* queues.attach(handle, { ...options, receive })
          yield* Effect.addFinalizer(() => Effect.sync(() => held.forEach(options.receive)))
          return subscriber
        })
      })
      yield* Effect.gen(function*() {
        const { adopt, group } = yield* orphaned()
        yield* group.call.add({ n: 5 })
        holds = true
        const asked = yield* Effect.forkChild(group.exits.add({ n: 1000 }), { startImmediately: true })
        yield* Effect.promise(() => Promise.resolve())
        const next = yield* adopt()
        holds = false
        assert.deepStrictEqual(yield* next.call.add({ n: 1 }), [6, 6, 6])
        assert.deepStrictEqual(yield* next.counters, { late: 0, unexpected: 0, fenced: 0 })
        yield* Fiber.interrupt(asked)
      }).pipe(Effect.provide(Layer.fresh(Cluster.layerFibers)), Effect.provideService(MessageQueues.MessageQueues, late))
    })))

  it.live("AD-4: has a rank started again whose state the former one had not yet restored", () =>
    inMemory(Effect.gen(function*() {
      const restoring = yield* Deferred.make<void>()
      const { adopt, group } = yield* orphaned({
        supervision: restarting,
        restore: () => Effect.andThen(Deferred.succeed(restoring, void 0), Effect.never)
      })
      yield* group.kill(1)
      yield* Deferred.await(restoring)
      const next = yield* adopt({
        supervision: restarting,
        restore: ({ actor, died }) => Effect.asVoid(actor.call.add({ n: died.incarnation * 10 }))
      })
      assert.deepStrictEqual(yield* next.call.add({ n: 1 }), [1, 11, 1])
      const [died] = yield* Stream.runCollect(Stream.take(next.deaths, 1))
      assert.deepStrictEqual([died!.rank, died!.death], [1, { _tag: "Unstarted", issue: "its driver was gone before it served" }])
      assert.deepStrictEqual(next.workers.map(({ incarnation }) => incarnation), [0, 2, 0])
    })))

  it.effect("AD-1 HB-1: finds a worker that is frozen, though none lived when it took over", () =>
    inMemory(Effect.gen(function*() {
      const cluster = yield* Cluster.Cluster
      const queues = yield* MessageQueues.MessageQueues
      let frozen = false
      const vitals = Effect.sync((): Cluster.Vitals => ({ state: frozen ? "stopped" : "alive", cpuMillis: 0 }))
      const gone = {
        secret: "0".repeat(32),
        epoch: 0,
        shape: { rank: 1 },
        members: [],
        driver: 1,
        workers: [],
        lives: [],
        settled: Effect.void
      }
      const next = yield* WorkerGroup.adopt(Counter, {
        ...three,
        group: "counter-00000000",
        heartbeat: { frozen: "5 seconds" },
        supervision: restarting
      }).pipe(
        Effect.provideService(Cluster.Cluster, {
          spawn: (options) => Effect.map(cluster.spawn(options), (process) => ({ ...process, vitals })),
          adopt: () => Effect.succeed(gone)
        }),
        Effect.provideService(MessageQueues.MessageQueues, {
          ...queues,
          open: (options) =>
            Effect.map(queues.open(options), (publisher) => ({
              ...publisher,
              control: (rank, frame) => frozen && frame[0] === Kind.Ping ? undefined : publisher.control(rank, frame)
            }))
        })
      )
      assert.deepStrictEqual(yield* next.call.add({ n: 1 }), [1])
      frozen = true
      yield* TestClock.adjust("6 seconds")
      frozen = false
      assert.deepStrictEqual(
        (yield* Stream.runCollect(Stream.take(next.deaths, 2))).map(({ reason }) => reason),
        ["setup", "frozen"]
      )
    })))

  it.live("AD-5: brings those along that have not heard of the epoch that others have entered", () =>
    inMemory(Effect.gen(function*() {
      const queues = yield* MessageQueues.MessageQueues
      const deaf = MessageQueues.MessageQueues.of({
        ...queues,
        open: (options) =>
          Effect.map(queues.open(options), (publisher) => ({
            ...publisher,
            publish: (packed, ranks) =>
              publisher.publish(packed, ranks.filter((rank) => rank < 2 || publisher.unpack(packed)[0] !== Kind.Epoch))
          }))
      })
      const { adopt, group, kept } = yield* Effect.provideService(orphaned(), MessageQueues.MessageQueues, deaf)
      yield* group.call.add({ n: 5 })
      const { commit } = yield* group.prepare({ to: { rank: 4 } })
      yield* commit
      yield* group.slice({ rank: [0, 1] }).call.add({ n: 1 })
      const next = yield* adopt()
      assert.deepStrictEqual([next.mesh.shape, kept().length], [{ rank: 4 }, 4])
      assert.deepStrictEqual(yield* next.call.add({ n: 1 }), [7, 7, 6, 1])
      assert.deepStrictEqual((yield* next.call.meet())[3], [0, 1, 2, 3])
    })))

  it.live("AD-6: is not disturbed by a claim of one before it", () =>
    inMemory(Effect.gen(function*() {
      const { adopt, group, kept } = yield* orphaned()
      yield* group.call.add({ n: 5 })
      yield* adopt()
      const next = yield* adopt()
      for (const { hear } of kept()) hear({ driver: 1, handle: { transport: "memory", data: "elsewhere" } })
      assert.deepStrictEqual(yield* next.call.add({ n: 1 }), [6, 6, 6])
    })))

  it.live("AD-3: is refused where workers end with their driver", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(WorkerGroup.adopt(Counter, { ...three, group: "counter-00000000" })))
      assert.strictEqual(
        error.message,
        "counter-00000000 is not adopted: this cluster hands on no group whose driver is gone. Start groups that are to be adopted on a cluster that keeps their workers"
      )
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it("AD-5: puts together who is where from what workers say, and from the record where nobody says it", () => {
    const says = (epoch: number, rank: number, shape: Readonly<Record<string, number>>, members: ReadonlyArray<number> = []) => ({
      epoch,
      rank,
      shape,
      members
    })
    const nothing = { epoch: 0, shape: {}, members: [] }
    const [two, three] = [{ dp: 2 }, { dp: 3 }]
    // Nobody has ever heard of another epoch; rank 1 is dead.
    assert.deepStrictEqual(standing(nothing, new Map([[0, says(0, 0, three)], [2, says(0, 2, three)]])), {
      epoch: 0,
      shape: three,
      members: [0, 1, 2]
    })
    // One that was to join has the shape of what had not begun.
    assert.deepStrictEqual(standing(nothing, new Map([[2, says(0, -1, three)], [0, says(0, 0, two)], [1, says(0, 1, two)]])), {
      epoch: 0,
      shape: two,
      members: [0, 1]
    })
    // One has entered the next epoch; the list that it has heard counts.
    assert.deepStrictEqual(standing(nothing, new Map([[0, says(4, 0, three)], [2, says(5, 0, two, [2, 7])]])), {
      epoch: 5,
      shape: two,
      members: [2, 7]
    })
    // All that live were started in this epoch, and have heard no list.
    const record = { epoch: 5, shape: two, members: [{ id: 4, rank: 0 }, { id: 6, rank: 1 }, { id: 9, rank: -1 }] }
    assert.deepStrictEqual(standing(record, new Map([[6, says(5, 1, two)]])).members, [4, 6])
    assert.deepStrictEqual(standing({ ...record, members: [] }, new Map([[6, says(5, 1, two)]])).members, [undefined, 6])
    // Nobody is left at all.
    assert.deepStrictEqual(standing(record, new Map()), { epoch: 5, shape: two, members: [4, 6] })
  })
})
