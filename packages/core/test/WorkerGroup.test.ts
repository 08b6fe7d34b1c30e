import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import { CollectiveAborted, Collectives } from "@phalanx/core/Collectives"
import * as Mesh from "@phalanx/core/Mesh"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import { QueueError } from "@phalanx/core/QueueError"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"

class Slow extends RpcGroup.make(
  Rpc.make("slow"),
  Rpc.make("rank", { success: Schema.Int })
) {}
const slow = Worker.make(
  Slow,
  Slow.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    return Slow.of({ slow: () => Effect.never, rank: () => Effect.succeed(self.rank) })
  }))
)
const mesh = Mesh.make({ dp: 2 })

class Blobs extends RpcGroup.make(
  Rpc.make("size", { payload: { bytes: Schema.Uint8Array }, success: Schema.Int }).annotate(Worker.Concurrent, true)
) {}
/** Answers large requests when a small one has come. */
const blobs = Worker.make(
  Blobs,
  Blobs.toLayer(Effect.gen(function*() {
    const small = yield* Deferred.make<void>()
    return Blobs.of({
      size: ({ bytes: { length } }) => Effect.as(length > 5000 ? Deferred.await(small) : Deferred.succeed(small, void 0), length)
    })
  }))
)

class Gives extends RpcGroup.make(
  Rpc.make("once", { payload: { what: Schema.String }, success: Schema.Any }),
  Rpc.make("many", { success: Schema.Int, stream: true }).annotate(Worker.Concurrent, true)
) {}
/** What the compiler refuses, and code that it does not see may give. */
const gives = Worker.make(
  Gives,
  Gives.toLayer({
    once: ({ what }): Effect.Effect<unknown> => {
      if (what === "nothing") return undefined as never
      if (!what.startsWith("revoked")) return Effect.succeed(what)
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      return what === "revoked" ? Effect.succeed(proxy) : Effect.as(Effect.yieldNow, proxy)
    },
    many: (): Stream.Stream<number> => undefined as never
  })
)

class Meets extends RpcGroup.make(
  Rpc.make("meet", { payload: { absent: Schema.Int }, success: Schema.Int, error: CollectiveAborted })
) {}
/** One rank answers without having met the others. */
const meets = Worker.make(
  Meets,
  Meets.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const world = yield* Collectives
    return Meets.of({
      meet: ({ absent }) =>
        self.rank === absent ? Effect.succeed(0) : Effect.map(world.allGather(Uint8Array.of(self.rank)), (parts) => parts.length)
    })
  }))
)

class Tenant extends RpcMiddleware.Service<Tenant>()("test/Tenant", { requiredForClient: true }) {}
class Guarded extends RpcGroup.make(Rpc.make("tenant", { success: Schema.String })).middleware(Tenant) {}
const guarded = Worker.make(
  Guarded,
  Guarded.toLayer({ tenant: (_, { headers }) => Effect.succeed(headers.tenant ?? "none") }).pipe(
    Layer.provideMerge(Layer.succeed(Tenant)((effect) => effect))
  )
)

class Slows extends WorkerGroup.Service<Slows>()("test/Slows", { protocol: Slow, mesh, entry: slow }) {}

/** A tracer, and every span that it has made. */
const collecting = () => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}

describe("WorkerGroup", () => {
  it.effect("CO-3: a timeout runs on the test clock and takes no time", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Slow, { mesh, entry: slow })
      const fiber = yield* Effect.forkChild(Effect.flip(group.call.slow(undefined, { timeout: "30 minutes" })), { startImmediately: true })
      yield* TestClock.adjust("29 minutes")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.reason._tag, "CallTimeout")
    }).pipe(Effect.provide(Cluster.layerMemory)))

  for (
    const [option, options] of [
      ["window.requests", { window: { requests: 0 } }],
      ["window.bytes", { window: { bytes: NaN } }],
      ["capacity", { capacity: 1.5 }],
      ["heartbeat.frozen", { heartbeat: { frozen: 0 } }],
      ["readyWithin", { readyWithin: -1 }],
      ["name", { name: "a/b c" }],
      // A doorbell's name is made of it, and has room for so much.
      ["name", { name: "a".repeat(65) }]
    ] as const
  ) {
    it.effect(`dies of a ${option} that cannot work`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(WorkerGroup.make(Slow, { mesh, entry: slow, ...options }))
        const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert(defect instanceof RangeError && defect.message.startsWith(`${option} must`), String(defect))
      }).pipe(Effect.provide(Cluster.layerMemory)))
  }

  it.live("CO-1 CO-9: what a handler gives that is no effect, no stream or not to be looked at fails its call alone", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Gives, { mesh, entry: gives })
      const reasons = yield* Effect.forEach(
        [
          group.call.once({ what: "nothing" }),
          group.call.once({ what: "revoked" }),
          group.call.once({ what: "revoked later" }),
          Stream.runCollect(group.stream.many()),
          Effect.andThen(group.call.once({ what: "revoked" }, { timeout: -Infinity }), Effect.never)
        ],
        (call) => Effect.map(Effect.flip(Effect.timeout(call as Effect.Effect<unknown, unknown>, "2 seconds")), String)
      )
      assert.match(reasons[0]!, /the handler died: the handler of once gave undefined, not an effect/)
      for (const each of reasons.slice(1, 3)) assert.match(each, /refused by the worker: the reply cannot be sent: .*revoked/)
      assert.match(reasons[3]!, /the handler died/)
      assert.match(reasons[4]!, /the reply cannot be sent|no reply within 0 ms/)
      assert.deepStrictEqual(yield* group.call.once({ what: "2" }), ["2", "2"])
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it.live("CO-7: a call that waits for admission can time out and be interrupted, and leaves its place", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Slow, { mesh, entry: slow, window: { requests: 1 } })
      const holder = yield* Effect.forkChild(group.at(0).call.slow(), { startImmediately: true })
      const late = yield* Effect.flip(group.at(0).call.rank(undefined, { timeout: "5 millis" }))
      assert.strictEqual(late.reason._tag, "CallTimeout")
      const waiting = yield* Effect.forkChild(group.at(0).call.rank(), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(holder)
      assert.strictEqual(yield* group.at(0).call.rank(), 0)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-1: a handler may answer later, without its turn, by giving a deferred", () =>
    Effect.gen(function*() {
      const later = yield* Deferred.make<number>()
      const entry = Worker.make(
        Slow,
        Slow.toLayer({
          slow: () => Effect.asVoid(Deferred.succeed(later, 7)),
          rank: () => Effect.succeed(later as unknown as number)
        })
      )
      const group = yield* WorkerGroup.make(Slow, { mesh: Mesh.make({ dp: 1 }), entry })
      const waiting = yield* Effect.forkChild(group.call.rank(), { startImmediately: true })
      yield* group.call.slow()
      assert.deepStrictEqual(yield* Fiber.join(waiting), [7])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-7: when a call that waits gives up, those behind it that fit are admitted", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Blobs, { mesh, entry: blobs, window: { bytes: 10_000 } })
      const call = (size: number) => Effect.forkChild(group.at(0).call.size({ bytes: new Uint8Array(size) }), { startImmediately: true })
      const holder = yield* call(6000)
      const large = yield* call(9000)
      const small = yield* call(1000)
      yield* Fiber.interrupt(large)
      // The holder answers only when the small one has come, so it must not wait for the holder.
      assert.deepStrictEqual(yield* Fiber.joinAll([holder, small]), [6000, 1000])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-1: the end of a group's scope ends what is open and what is asked later, and says so", () =>
    Effect.gen(function*() {
      const group = yield* Deferred.make<WorkerGroup.WorkerGroup<typeof Slow, "dp">>()
      const owner = yield* Effect.forkChild(
        Effect.scoped(
          Effect.andThen(Effect.flatMap(WorkerGroup.make(Slow, { mesh, entry: slow }), (g) => Deferred.succeed(group, g)), Effect.never)
        )
      )
      const { call, exits, membership, memberships } = yield* Deferred.await(group)
      const calls = yield* Effect.forkChild(exits.slow(), { startImmediately: true })
      const counted = yield* Effect.forkChild(Stream.runCount(memberships), { startImmediately: true })
      yield* Fiber.interrupt(owner)
      assert.deepStrictEqual([yield* Fiber.join(counted), (yield* membership).epoch], [1, 0])
      const ends = yield* Fiber.join(calls)
      assert.deepStrictEqual(ends.map((exit) => Exit.isFailure(exit)), [true, true])
      const open = yield* Effect.flip(ends[0]!)
      assert.strictEqual(open.message, "slow failed on rank 0: the group has ended: the scope that it was made in is closed")
      const { reason } = yield* Effect.flip(call.rank())
      assert(reason._tag === "CallInterrupted" && reason.by === "group")
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-11: one span tree covers the driver and the workers", () =>
    Effect.gen(function*() {
      const { spans, tracer } = collecting()
      // In memory the workers share the driver's tracer, so one list has both sides.
      yield* Effect.flatMap(WorkerGroup.make(Slow, { mesh, entry: slow }), (group) => Effect.withSpan(group.call.rank(), "root")).pipe(
        Effect.withTracer(tracer)
      )
      const root = spans.find(({ name }) => name === "root")!
      const call = spans.find(({ name }) => name === "call rank")!
      const served = spans.filter(({ kind }) => kind === "server")
      const parent = ({ parent }: Tracer.Span) => parent._tag === "Some" ? parent.value.spanId : undefined
      assert.strictEqual(parent(call), root.spanId)
      assert.deepStrictEqual(served.map(parent), [call.spanId, call.spanId])
      assert.deepStrictEqual(served.map(({ attributes }) => attributes.get("phalanx.rank")), [0, 1])
      assert.isTrue([call, ...served].every(({ traceId }) => traceId === root.traceId))
      const end = ({ status }: Tracer.Span) => status._tag === "Ended" ? status.endTime : 0n
      assert.isTrue(served.every((span) => end(span) > 0n && end(span) <= end(call)))
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CL-9: a worker's layer may use collectives while it is built", () =>
    Effect.gen(function*() {
      const meeting = Worker.make(
        Slow,
        Slow.toLayer(Effect.gen(function*() {
          const { rank } = yield* Worker.Self
          const everyone = yield* (yield* Collectives).allGather(Uint8Array.of(rank + 1))
          const sum = everyone.reduce((total, part) => total + part[0]!, 0)
          return Slow.of({ slow: () => Effect.never, rank: () => Effect.succeed(sum) })
        }))
      )
      const group = yield* WorkerGroup.make(Slow, { mesh: Mesh.make({ dp: 3 }), entry: meeting })
      assert.deepStrictEqual(yield* group.call.rank(), [6, 6, 6])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CL-11: who waits in the first operation of a group is told by a rank whose call ends without it", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Meets, { mesh: Mesh.make({ dp: 3 }), entry: meets })
      const exits = yield* group.exits.meet({ absent: 1 })
      for (const rank of [0, 2]) {
        const error = Exit.findErrorOption(exits[rank]!)
        assert.isTrue(Option.isSome(error) && error.value.reason._tag === "CollectiveAborted")
        assert.include(String(Option.getOrThrow(error).reason), "rank 1 took no part in allGather")
      }
      assert.deepStrictEqual(exits[1], Exit.succeed(0))
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CL-12: nobody waits for a rank that cannot be reached, nor for a size that needs one; the next operation tries again", () =>
    Effect.gen(function*() {
      const queues = yield* MessageQueues
      const full = new QueueError({ operation: "open lanes between ranks", where: "here", issue: "no room", advice: "Make room" })
      const refused = new Set([1])
      const narrow = MessageQueues.of({
        ...queues,
        peers: (options) => refused.delete(options.rank) ? Effect.fail(full) : queues.peers(options)
      })
      const group = yield* WorkerGroup.make(Meets, { mesh: Mesh.make({ dp: 3 }), entry: meets, capacity: 4 }).pipe(
        Effect.provide(Layer.provideMerge(Layer.fresh(Cluster.layerFibers), Layer.succeed(MessageQueues, narrow)))
      )
      const exits = yield* group.exits.meet({ absent: -1 })
      for (const exit of exits) assert.include(String(Option.getOrThrow(Exit.findErrorOption(exit)).reason), "rank 1 could not join: ")
      assert.deepStrictEqual(yield* group.call.meet({ absent: -1 }), [3, 3, 3])
      const grow = Effect.scoped(Effect.flatMap(group.prepare({ to: { dp: 4 } }), ({ commit }) => commit))
      refused.add(3)
      assert.include((yield* Effect.flip(grow)).message, "rank 3 could not join: ")
      assert.deepStrictEqual(yield* group.call.meet({ absent: -1 }), [3, 3, 3])
      yield* grow
      assert.deepStrictEqual(yield* group.call.meet({ absent: -1 }), [4, 4, 4, 4])
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it.live("CO-11: the span of fork and of stream lasts until the last answer is in", () =>
    Effect.gen(function*() {
      const { spans, tracer } = collecting()
      yield* Effect.gen(function*() {
        const group = yield* WorkerGroup.make(Slow, { mesh, entry: slow })
        const fibers = yield* group.fork.slow(undefined, { timeout: "5 millis" })
        const forked = spans.find(({ name }) => name === "call slow")!
        assert.strictEqual(forked.status._tag, "Started")
        yield* Fiber.awaitAll(fibers)
        assert.strictEqual(forked.status._tag === "Ended" && forked.status.exit._tag, "Failure")
        yield* Stream.runForEach(group.stream.rank(), () =>
          Effect.sync(() => assert.strictEqual(spans.findLast(({ name }) => name === "call rank")!.status._tag, "Started")))
        assert.strictEqual(
          spans.findLast(({ name }) =>
            name === "call rank"
          )!.status._tag,
          "Ended"
        )
      }).pipe(Effect.withTracer(tracer))
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-1: client middleware that refuses is every rank's answer", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Guarded, { mesh, entry: guarded })
      const exits = yield* group.exits.tenant()
      assert.deepStrictEqual(exits.map((exit) => exit._tag), ["Failure", "Failure"])
      assert.include(String((yield* Effect.flip(exits[1]!)).reason), "did not pass the request on")
    }).pipe(Effect.provide([
      Cluster.layerMemory,
      RpcMiddleware.layerClient(Tenant, () => Effect.succeed(undefined as any))
    ])))

  it.live("a group is a service whose layer starts it", () =>
    Effect.gen(function*() {
      const group = yield* Slows
      assert.deepStrictEqual(yield* group.call.rank(), [0, 1])
    }).pipe(Effect.provide(Slows.layer.pipe(Layer.provide(Cluster.layerMemory)))))

  it.live("client middleware adds headers once a call", () =>
    Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Guarded, { mesh, entry: guarded })
      assert.deepStrictEqual(yield* group.call.tenant(), ["t1", "t1"])
    }).pipe(Effect.provide([
      Cluster.layerMemory,
      RpcMiddleware.layerClient(Tenant, ({ next, request }) => next({ ...request, headers: { ...request.headers, tenant: "t1" } as any }))
    ])))

  it.live("a worker whose layer fails, or that is never ready, is a SpawnError that says so", () =>
    Effect.gen(function*() {
      const broken = Worker.make(
        Slow,
        Layer.effectDiscard(Effect.fail("no such device")) as unknown as Layer.Layer<Worker.Provided<typeof Slow>>
      )
      const setup = yield* Effect.flip(WorkerGroup.make(Slow, { mesh, entry: broken }))
      assert.strictEqual(setup._tag === "SpawnError" && setup.phase, "setup")
      assert.include(setup.message, "no such device")
      const stuck = Worker.make(Slow, Layer.effectDiscard(Effect.never) as unknown as Layer.Layer<Worker.Provided<typeof Slow>>)
      const ready = yield* Effect.flip(WorkerGroup.make(Slow, { mesh, entry: stuck, readyWithin: "20 millis" }))
      assert.strictEqual(ready._tag === "SpawnError" && ready.phase, "ready")
      const missing = yield* Effect.flip(WorkerGroup.make(Slow, { mesh, entry: new URL("./nowhere.ts", import.meta.url) }))
      assert.strictEqual(missing._tag === "SpawnError" && missing.phase, "import")
      assert.include(missing.message, "nowhere.ts")
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
