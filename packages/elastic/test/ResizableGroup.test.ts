import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as ResizableGroup from "@phalanx/elastic/ResizableGroup"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Resize } from "../src/Resizable.ts"

class Seat extends RpcGroup.make(Rpc.make("where", { success: Schema.Tuple([Schema.Int, Schema.Int]) })) {}
const worker = Worker.make(
  Seat,
  Seat.toLayer(Effect.map(Worker.Self, (self) => Seat.of({ where: () => Effect.sync(() => [self.epoch, self.rank] as const) })))
)

/** Two ranks, what is done for them, and the workers that there ever were. */
const seats = Effect.gen(function*() {
  const cluster = yield* Cluster.Cluster
  const started: Array<Cluster.Process> = []
  const log: Array<string> = []
  const capturing = Cluster.Cluster.of({
    spawn: (options) => Effect.tap(cluster.spawn(options), (process) => Effect.sync(() => void started.push(process)))
  })
  const group = yield* Effect.provideService(
    WorkerGroup.make(Seat, {
      mesh: Mesh.make({ rank: 2 }),
      entry: worker,
      supervision: Supervision.shrink({ along: "rank" }),
      heartbeat: false,
      capacity: 6
    }),
    Cluster.Cluster,
    capturing
  )
  const say = (word: string) => Effect.sync(() => void log.push(word))
  const resizable = ResizableGroup.make(group, {
    copy: ({ joining }) => say(`copy to ${joining}`),
    commit: (_, commit) => Effect.as(Effect.andThen(say("commit"), commit), 7),
    forget: say("forget")
  })
  const resize: Resize = {
    operation: "a",
    request: { to: { rank: 3 } },
    from: yield* resizable.serving,
    epoch: 1,
    report: () => Effect.void
  }
  return { group, log, resizable, resize, started }
})
const inMemory = <A, E>(test: Effect.Effect<A, E, Cluster.Cluster | WorkerGroup.Requirements<typeof Seat> | Scope.Scope>) =>
  test.pipe(Effect.scoped, Effect.provide(Cluster.layerMemory))

describe("a group that can be resized", () => {
  it.live("goes through the steps, and nothing of a step that is repeated happens twice", () =>
    inMemory(Effect.gen(function*() {
      const { group, log, resizable, resize } = yield* seats
      yield* resizable.prepare(resize)
      assert.match((yield* Effect.flip(resizable.ready(resize))).message, /^not all that epoch 1 needs has been copied/)
      yield* resizable.copy(resize)
      yield* resizable.ready(resize)
      assert.deepStrictEqual(yield* resizable.commit(resize), {
        pauseMillis: 7,
        to: { epoch: 1, shape: { rank: 3 }, members: [0, 1, 2] }
      })
      assert.deepStrictEqual(yield* resizable.commit(resize), { pauseMillis: 0 })
      yield* resizable.retire(resize)
      yield* resizable.abort(resize)
      assert.deepStrictEqual(log, ["copy to 2", "commit"])
      assert.deepStrictEqual(yield* group.call.where(), [[1, 0], [1, 1], [1, 2]])
      assert.deepStrictEqual(yield* resizable.serving, { epoch: 1, shape: { rank: 3 }, members: [0, 1, 2] })
    })))

  it.live("WF-10: a commit is not done before all have entered its epoch: its end in the journal is not of an epoch that nobody knows", () =>
    inMemory(Effect.gen(function*() {
      const queues = yield* MessageQueues.MessageQueues
      const published = yield* Deferred.make<void>()
      const publish: Array<() => void> = []
      let commits = false
      const late = MessageQueues.MessageQueues.of({
        ...queues,
        open: (options) =>
          Effect.map(queues.open(options), (publisher) => ({
            ...publisher,
            publish: (packed, ids) =>
              commits
                ? publish.push(() => publisher.publish(packed, ids)) === 1 && Deferred.doneUnsafe(published, Exit.void)
                : publisher.publish(packed, ids)
          }))
      })
      const { group, resizable, resize } = yield* Effect.provideService(seats, MessageQueues.MessageQueues, late)
      yield* resizable.prepare(resize)
      yield* resizable.copy(resize)
      commits = true
      const committing = yield* Effect.forkChild(resizable.commit(resize), { startImmediately: true })
      yield* Deferred.await(published)
      const again = yield* Effect.forkChild(resizable.commit(resize), { startImmediately: true })
      assert.deepStrictEqual([committing.pollUnsafe(), again.pollUnsafe()], [undefined, undefined])
      // What it came to is told, though a death makes it smaller before all have entered it.
      yield* group.kill(1)
      yield* Stream.runHead(Stream.filter(group.events, (event) => event._tag === "Resized" && event.epoch === 2))
      publish.forEach((publish) => publish())
      assert.deepStrictEqual((yield* Fiber.join(committing)).to?.members, [0, 1, 2])
      assert.deepStrictEqual(yield* Fiber.join(again), { pauseMillis: 0 })
    })))

  it.live("is as before when it is called off", () =>
    inMemory(Effect.gen(function*() {
      const { group, log, resizable, resize, started } = yield* seats
      yield* resizable.prepare(resize)
      yield* resizable.copy(resize)
      yield* resizable.abort(resize)
      yield* started[2]!.end
      assert.deepStrictEqual(log, ["copy to 2", "forget"])
      assert.deepStrictEqual(yield* group.call.where(), [[0, 0], [0, 1]])
      assert.isTrue((yield* Effect.flip(resizable.commit(resize))).final)
    })))

  it.live("does not take another epoch, which a loss has made, for the one that was asked for, and keeps nothing that was prepared", () =>
    inMemory(Effect.gen(function*() {
      const { group, log, resizable, resize, started } = yield* seats
      yield* resizable.prepare(resize)
      yield* resizable.copy(resize)
      yield* group.kill(1)
      yield* Stream.runHead(Stream.filter(group.events, ({ _tag }) => _tag === "Resized"))
      const { final, message } = yield* Effect.flip(resizable.commit(resize))
      assert.isTrue(final)
      assert.include(message, "epoch 1 is another one")
      yield* resizable.abort(resize)
      yield* started[2]!.end
      assert.deepStrictEqual(log, ["copy to 2", "forget"])
      assert.deepStrictEqual(yield* group.call.where(), [[1, 0]])
    })))

  it.live("AD-7: prepares again for a commit that was decided, if what was prepared is lost or was another driver's", () =>
    inMemory(Effect.gen(function*() {
      const { group, log, resizable, resize, started } = yield* seats
      yield* resizable.prepare(resize)
      yield* resizable.copy(resize)
      yield* started[2]!.kill("SIGKILL")
      yield* started[2]!.end
      yield* Effect.repeat(Effect.exit(resizable.ready(resize)), { until: (exit) => exit._tag === "Failure" })
      yield* resizable.commit(resize)
      assert.deepStrictEqual(log, ["copy to 2", "forget", "copy to 2", "commit"])
      assert.deepStrictEqual(yield* group.call.where(), [[1, 0], [1, 1], [1, 2]])
      // One that knows of nothing that was prepared.
      yield* resizable.commit({ ...resize, request: { leave: [0] }, epoch: 2 })
      assert.deepStrictEqual(log.slice(4), ["forget", "copy to ", "commit"])
      assert.deepStrictEqual((yield* resizable.serving).members, [1, 2])
    })))
})
