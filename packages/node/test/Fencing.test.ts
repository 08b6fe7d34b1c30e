import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { eventually, lives } from "./fixtures/system.ts"
import { Tally } from "./fixtures/tallyProtocol.ts"

/** A cluster that cannot end a worker before it is let, as if the worker's node could not be reached. How workers ended, by pid. */
const unreachable = Effect.gen(function*() {
  const cluster = yield* Cluster.Cluster
  const reached = yield* Deferred.make<void>()
  const ends = new Map<number, Cluster.End>()
  const spawn: Cluster.Cluster["Service"]["spawn"] = Effect.fnUntraced(function*(options) {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => Effect.andThen(Deferred.await(reached), Scope.close(scope, exit)))
    const process = yield* Scope.provide(cluster.spawn(options), scope)
    yield* Effect.forkIn(Effect.map(process.end, (end) => ends.set(process.pid!, end)), scope)
    return { ...process, kill: () => Effect.void }
  })
  return { cluster: Cluster.Cluster.of({ spawn }), ends, reach: Deferred.succeed(reached, void 0) }
})

for (const transport of ["shm", "tcp"] as const) {
  describe(`a worker of a former incarnation over ${transport}`, () => {
    it.live("FE-1 FE-2: thaws after it was replaced, changes nothing, is counted, and ends itself", () =>
      Effect.gen(function*() {
        const { cluster, ends, reach } = yield* unreachable
        const group = yield* WorkerGroup.make(Tally, {
          mesh: Mesh.make({ rank: 2 }),
          entry: new URL("./fixtures/tally.ts", import.meta.url),
          supervision: Supervision.restart({ max: 1, per: "1 minute" }),
          heartbeat: { every: "50 millis", frozen: "1 second" }
        }).pipe(Effect.provideService(Cluster.Cluster, cluster))
        // Run before the group's end, which waits for its workers.
        yield* Effect.addFinalizer(() => reach)
        const pids = group.workers.map(({ pid }) => pid!)
        const frozen = pids[1]!
        assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [1, 1])
        assert.deepStrictEqual(yield* group.call.meet(), [[0, 0], [0, 0]])

        const later = yield* Effect.forkChild(Effect.flip(group.at(1).call.later({ millis: 100 })), { startImmediately: true })
        yield* group.at(1).call.add({ n: 0 })
        process.kill(frozen, "SIGSTOP")
        const { reason } = yield* Fiber.join(later)
        assert(reason._tag === "WorkerDied")
        assert.deepStrictEqual([reason.reason, reason.pid], ["frozen", frozen])
        yield* Effect.raceFirst(Stream.runHead(Stream.filter(group.events, ({ _tag }) => _tag === "Restarted")), group.failure)
        assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [2, 1])
        assert.isTrue(lives(frozen))
        const before = yield* group.counters

        process.kill(frozen, "SIGCONT")
        yield* eventually("the worker that was replaced has ended itself", () => ends.has(frozen))
        assert.deepStrictEqual(ends.get(frozen)!.death, { _tag: "Exited", code: 0 })
        const after = yield* Effect.repeat(group.counters, {
          until: ({ fenced }) => fenced > before.fenced,
          schedule: Schedule.spaced("2 millis")
        }).pipe(Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.die(new Error("nothing that it said was counted")) }))
        assert.deepStrictEqual({ ...after, fenced: 0 }, { ...before, fenced: 0 })
        assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [3, 2])
        assert.deepStrictEqual(yield* group.call.meet(), [[0, 1], [0, 1]])
        assert.deepStrictEqual(group.workers.map(({ incarnation }) => incarnation), [0, 1])
      }).pipe(Effect.scoped, Effect.provide(NodeCluster.layerWith({ transport }))))
  })
}
