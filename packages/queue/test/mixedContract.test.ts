import { assert, layer } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import { Collectives } from "@phalanx/core/Collectives"
import * as Contract from "@phalanx/core/Contract"
import * as Mesh from "@phalanx/core/Mesh"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as MixedQueues from "@phalanx/queue/MixedQueues"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as mixed from "../src/internal/mixed.ts"

class Echo extends RpcGroup.make(
  Rpc.make("count", { success: Schema.Int }),
  Rpc.make("meet", { success: Schema.Array(Schema.Int) })
) {}
const echo = Worker.make(
  Echo,
  Echo.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const world = yield* Collectives
    let count = 0
    return Echo.of({
      count: () => Effect.sync(() => ++count),
      meet: () => Effect.orDie(Effect.map(world.allGather(Uint8Array.of(self.rank)), (parts) => parts.map((part) => part[0]!)))
    })
  }))
)

/** As if ranks 0 and 1 were on the driver's host, and 2 and 3 together on another. */
const twoHosts: mixed.Sees = (self, _folder, _segment, other) => self === -1 ? other < 2 : self >> 1 === other >> 1

const hosts = Layer.effect(
  MessageQueues,
  Effect.gen(function*() {
    const shm = yield* Effect.provide(MessageQueues, ShmQueues.layer)
    const tcp = yield* Effect.provide(MessageQueues, TcpQueues.layer)
    return MessageQueues.of(mixed.make({ shm, tcp }, twoHosts))
  })
)

const twoHostsFibers = Cluster.layerFibers.pipe(Layer.provideMerge(hosts))
layer(Layer.provideMerge(Contract.layerShared, twoHostsFibers), { excludeTestServices: true })(
  "the contract, workers as fibers on two hosts",
  (it) => {
    for (const { name, run } of Contract.cases) it.effect(name, () => run)
  }
)

/** Frames that the driver has sent by shared memory, and by TCP. */
const driver = (group: WorkerGroup.WorkerGroup<any, any>) =>
  Effect.map(group.stats, (stats) => {
    const numbers = new Map(stats).get("driver")!
    return [numbers["shm.frames"]!, numbers["tcp.frames"]!] as const
  })

layer(twoHostsFibers, { excludeTestServices: true })("queues of two hosts", (it) => {
  it.effect("MX-1: reach ranks of this host by shared memory and the others by TCP, which both ends count", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Echo, { mesh: Mesh.make({ rank: 4 }), entry: echo, name: "mixed" })
      assert.strictEqual(group.transport, "mixed")
      const before = yield* driver(group)
      for (const ranks of [[0, 1], [0, 1], [2], [0, 1, 2, 3]]) yield* group.slice({ rank: ranks }).call.count()
      const after = yield* driver(group)
      assert.deepStrictEqual(after.map((frames, way) => frames - before[way]!), [3, 2])
    })))

  it.effect("MX-1: by nothing but shared memory where all see the driver's segments", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Echo, { mesh: Mesh.make({ rank: 2 }), entry: echo, name: "mixed" })
      yield* group.call.meet()
      const [shm, tcp] = yield* driver(group)
      assert.deepStrictEqual([shm > 0, tcp], [true, 0])
    })).pipe(Effect.provide(Cluster.layerFibers.pipe(Layer.provideMerge(MixedQueues.layer)))))

  it.effect("MX-2: order holds however a rank is reached, and across its restart", () =>
    Effect.scoped(Effect.gen(function*() {
      const group = yield* WorkerGroup.make(Echo, {
        mesh: Mesh.make({ rank: 4 }),
        entry: echo,
        name: "mixed",
        supervision: Supervision.restart({ max: 4, per: "1 minute", backoff: "1 millis" })
      })
      for (const rank of [1, 3]) {
        yield* group.kill(rank)
        yield* Stream.runDrain(Stream.take(Stream.filter(group.deaths, (died) => died.rank === rank), 1))
        const counts = yield* Effect.forEach(
          Array.from({ length: 50 }, (_, i) => i),
          () => Effect.forkChild(group.call.count(), { startImmediately: true })
        )
        const last = (yield* Fiber.joinAll(counts)).map((all) => all[rank])
        assert.deepStrictEqual(last, Array.from({ length: 50 }, (_, i) => i + 1))
      }
      assert.deepStrictEqual((yield* group.call.meet())[0], [0, 1, 2, 3])
    })))
})
