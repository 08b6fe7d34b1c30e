/** What PARITY.md names and no other test shows: deadlines, starts, deaths and replies at their edges. */
import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Kind } from "../src/internal/frame.ts"

const mesh = Mesh.make({ dp: 2, tp: 2 })
const now = { startImmediately: true } as const

/** Decodes on a later turn of the event loop. */
const Waiting = Schema.Int.pipe(
  Schema.decode({
    decode: SchemaGetter.transformEffect((n: number) => Effect.promise(() => Promise.resolve(n))),
    encode: SchemaGetter.passthrough<number>()
  })
)

class Odd extends RpcGroup.make(
  Rpc.make("rank", { success: Schema.Int }),
  Rpc.make("wait", { payload: { padding: Schema.String }, success: Schema.String }),
  Rpc.make("go").annotate(Worker.Concurrent, true),
  Rpc.make("keep", { payload: { bytes: Schema.Uint8Array } }),
  Rpc.make("patient", { payload: { n: Waiting } })
) {}

/** The last payload of `keep`, if anybody still has it. */
let kept: WeakRef<Uint8Array> | undefined
let stopped: Array<number> = []

const odd = Worker.make(
  Odd,
  Odd.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    let gate = Deferred.makeUnsafe<void>()
    return Odd.of({
      rank: () => Effect.succeed(self.rank),
      wait: ({ padding }) =>
        Deferred.await(gate).pipe(
          Effect.as(`${self.rank}${padding.slice(0, 1)}`),
          Effect.onInterrupt(() => Effect.sync(() => stopped.push(self.rank)))
        ),
      go: () =>
        Effect.sync(() => {
          Deferred.doneUnsafe(gate, Exit.void)
          gate = Deferred.makeUnsafe()
        }),
      keep: ({ bytes }) => Effect.sync(() => void (kept = new WeakRef(bytes))),
      patient: () => Effect.void
    })
  }))
)
const start = (options?: Partial<WorkerGroup.Options<typeof Odd, "dp" | "tp">>) => WorkerGroup.make(Odd, { mesh, entry: odd, ...options })

/** A worker whose layer also does something of its own. */
const withLayer = (effect: Effect.Effect<unknown, unknown, Worker.Self | Scope.Scope>) =>
  Worker.make(Odd, Layer.merge(odd.layer, Layer.effectDiscard(effect)))

/** Ends when it has been begun by so many. */
const makeMeeting = (size: number) => {
  const all = Deferred.makeUnsafe<void>()
  let come = 0
  return Effect.suspend(() => {
    if (++come === size) Deferred.doneUnsafe(all, Exit.void)
    return Deferred.await(all)
  })
}

describe("deadlines of calls", () => {
  it.effect("CO-3: a call that hangs ends with its method, its rank and the time, and its handler is told to stop", () =>
    Effect.gen(function*() {
      stopped = []
      const group = yield* start()
      const fiber = yield* Effect.forkChild(Effect.flip(group.at(2).call.wait({ padding: "" }, { timeout: "7 seconds" })), now)
      yield* TestClock.adjust("7 seconds")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.message, "wait failed on rank 2: no reply within 7000 ms")
      assert.strictEqual(yield* group.at(2).call.rank(), 2)
      assert.deepStrictEqual(stopped, [2])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.effect("CO-3: one deadline holds for all ranks of a call; zero and less are over at once, and without one a call waits", () =>
    Effect.gen(function*() {
      const group = yield* start()
      for (const timeout of ["0 millis", "-5 millis"] as const) {
        const exits = yield* group.exits.wait({ padding: "" }, { timeout })
        for (const exit of exits) assert.include(String(Option.getOrThrow(Exit.findErrorOption(exit))), "no reply within")
      }
      const one = yield* Effect.forkChild(group.exits.wait({ padding: "" }, { timeout: "1 minute" }), now)
      const open = yield* Effect.forkChild(group.call.wait({ padding: "x" }), now)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(one)).filter(Exit.isFailure).length, 4)
      yield* TestClock.adjust("100 days")
      assert.isUndefined(open.pollUnsafe())
      yield* Effect.repeat(group.call.go(), { until: () => Effect.sync(() => open.pollUnsafe() !== undefined) })
      assert.deepStrictEqual(yield* Fiber.join(open), ["0x", "1x", "2x", "3x"])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-3: fibers of several calls are joined in any order, and each has its own answer", () =>
    Effect.gen(function*() {
      const group = yield* start()
      const first = yield* group.fork.wait({ padding: "a" })
      const second = yield* group.fork.wait({ padding: "b" })
      yield* Effect.repeat(group.call.go(), { until: () => Effect.sync(() => second.every((fiber) => fiber.pollUnsafe() !== undefined)) })
      assert.strictEqual(yield* Fiber.join(second[3]!), "3b")
      assert.strictEqual(yield* Fiber.join(second[0]!), "0b")
      assert.deepStrictEqual(yield* Fiber.joinAll(first), ["0a", "1a", "2a", "3a"])
    }).pipe(Effect.provide(Cluster.layerMemory)))
})

describe("what a rank is asked and answers", () => {
  it.live("CO-1: a rank whose reply is not wanted sends none, and any rank's may be", () =>
    Effect.gen(function*() {
      const queues = yield* MessageQueues.MessageQueues
      const answers: Array<readonly [rank: number, value: unknown]> = []
      const group = yield* Effect.provideService(start(), MessageQueues.MessageQueues, {
        ...queues,
        open: (driver) =>
          queues.open({
            ...driver,
            receive: (rank, frame) => {
              if (frame[0] === Kind.Success) answers.push([rank, frame[6]])
              driver.receive(rank, frame)
            }
          })
      })
      assert.strictEqual(yield* group.call.rank(undefined, { replyFrom: { dp: 1, tp: 0 } }), 2)
      assert.deepStrictEqual(answers.sort(([a], [b]) => a - b), [[0, null], [1, null], [2, 2], [3, null]])
      assert.strictEqual(yield* group.slice({ dp: 1 }).call.rank(undefined, { replyFrom: 3 }), 3)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-1: a rank that does not exist, or is not called, is a RangeError that names those that are", () =>
    Effect.gen(function*() {
      const group = yield* start()
      const outside = [
        () => group.at(4),
        () => group.kill(4),
        () => group.call.rank(undefined, { replyFrom: 4 }),
        () => group.callByName("rank", undefined, { replyFrom: 4 })
      ]
      for (const asked of outside) assert.throws(asked, RangeError, "rank 4 is not among 0, 1, 2, 3")
      assert.throws(() => group.slice({ dp: 0 }).call.rank(undefined, { replyFrom: 2 }), RangeError, "rank 2 is not among 0, 1")
      assert.throws(() => group.slice({ dp: [0, 2] }), RangeError, "dp: 2 is outside 0 … 1")
      assert.deepStrictEqual(yield* group.call.rank(), [0, 1, 2, 3])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-9: a worker cannot call: a request on its reply lane is a malformed frame and ends its part alone", () =>
    Effect.gen(function*() {
      const queues = yield* MessageQueues.MessageQueues
      let say: (frame: MessageQueues.Frame) => void = () => {}
      let fence: MessageQueues.Frame = []
      const group = yield* Effect.provideService(start(), MessageQueues.MessageQueues, {
        ...queues,
        open: (driver) =>
          queues.open({
            ...driver,
            receive: (rank, frame) => {
              if (rank === 1) fence = frame
              say = (frame) => driver.receive(1, frame)
              driver.receive(rank, frame)
            }
          })
      })
      say([Kind.Request, ...fence.slice(1, 5), "rank", null, -1, null, null, 0, -1])
      const died = yield* Effect.flip(group.failure)
      assert.deepStrictEqual([died.rank, died.death._tag], [1, "Disconnected"])
      assert.deepStrictEqual(yield* group.slice({ dp: 1 }).call.rank(), [2, 3])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-9: a codec that would have to wait is a refusal of that call alone", () =>
    Effect.gen(function*() {
      const group = yield* start()
      const error = yield* Effect.flip(group.at(0).call.patient({ n: 1 }))
      assert.deepStrictEqual([error.reason._tag, "side" in error.reason && error.reason.side], ["CallRejected", "worker"])
      assert.strictEqual(yield* group.at(0).call.rank(), 0)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-7: a request's bytes are held until it is answered, a broadcast's too, and one larger than the window is refused", () =>
    Effect.gen(function*() {
      const group = yield* start({ window: { bytes: 1000 } })
      const long = { padding: "p".repeat(600) }
      yield* group.at(0).broadcast.wait(long)
      const second = yield* Effect.forkChild(group.at(0).call.wait(long), now)
      const third = yield* Effect.forkChild(group.at(0).call.go(), now)
      assert.deepStrictEqual(yield* group.slice({ dp: 1 }).call.rank(), [2, 3])
      // Small as it is, it waits behind the second, which waits for the broadcast's room.
      assert.isUndefined(third.pollUnsafe())
      yield* Fiber.interrupt(third)
      yield* Fiber.interrupt(second)
      yield* group.at(0).call.go()
      assert.strictEqual(yield* group.at(0).call.rank(), 0)
      const error = yield* Effect.flip(group.call.wait({ padding: "p".repeat(1200) }))
      assert.match(error.message, /the request is \d+ bytes, and a rank takes 1000 at once/)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("a worker keeps nothing of a request that it has answered", () =>
    Effect.gen(function*() {
      setFlagsFromString("--expose-gc")
      const collect: () => void = runInNewContext("gc")
      const group = yield* start()
      yield* group.at(0).call.keep({ bytes: new Uint8Array(1 << 20) })
      yield* Effect.repeat(
        Effect.andThen(Effect.sync(collect), Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))),
        {
          until: () => kept!.deref() === undefined
        }
      )
      assert.strictEqual(yield* group.at(0).call.rank(), 0)
    }).pipe(Effect.provide(Cluster.layerMemory)))
})

describe("starts and deaths", () => {
  it.live("ranks start at once: the layer of each can wait for those of all", () =>
    Effect.gen(function*() {
      const group = yield* start({ entry: withLayer(makeMeeting(4)) })
      assert.deepStrictEqual(yield* group.call.rank(), [0, 1, 2, 3])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-10: a start that fails on one rank ends the ranks that had started", () =>
    Effect.gen(function*() {
      const living = new Set<number>()
      const meeting = makeMeeting(4)
      const broken = withLayer(Effect.gen(function*() {
        const { rank } = yield* Worker.Self
        yield* Effect.acquireRelease(Effect.sync(() => living.add(rank)), () => Effect.sync(() => living.delete(rank)))
        yield* meeting
        if (rank === 2) return yield* Effect.fail("no such device")
      }))
      const error = yield* Effect.flip(start({ entry: broken }))
      assert.deepStrictEqual([error._tag, "rank" in error && error.rank, "phase" in error && error.phase], ["SpawnError", 2, "setup"])
      assert.deepStrictEqual([...living], [])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("CO-5: escalation fails the group once, with the first cause, and tells listeners however late; survivors go on", () =>
    Effect.gen(function*() {
      const group = yield* start()
      const early = yield* Effect.forkChild(Effect.flip(group.failure), now)
      yield* group.kill(3)
      assert.strictEqual((yield* Fiber.join(early)).rank, 3)
      yield* group.kill(0)
      const deaths = yield* Stream.runCollect(Stream.take(group.deaths, 2))
      assert.deepStrictEqual(deaths.map(({ death, incarnation, rank }) => [rank, incarnation, death]), [
        [3, 0, { _tag: "Killed", signal: "SIGKILL" }],
        [0, 0, { _tag: "Killed", signal: "SIGKILL" }]
      ])
      const late = yield* Effect.flip(group.failure)
      assert.strictEqual(late.rank, 3)
      assert.strictEqual(late, yield* Effect.flip(group.failure))
      assert.deepStrictEqual(yield* Effect.all([group.at(1).call.rank(), group.at(2).call.rank()]), [1, 2])
      const exits = yield* group.exits.rank()
      assert.deepStrictEqual(exits.map((exit) => exit._tag), ["Failure", "Success", "Success", "Failure"])
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
