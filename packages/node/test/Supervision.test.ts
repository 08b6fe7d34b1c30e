import { assert, describe, it } from "@effect/vitest"
import type { GroupEvent } from "@phalanx/core/GroupEvent"
import * as Mesh from "@phalanx/core/Mesh"
import * as Metrics from "@phalanx/core/Metrics"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { start } from "./fixtures/start.ts"
import { eventually, filesIn, folder, lives } from "./fixtures/system.ts"
import { Tally } from "./fixtures/tallyProtocol.ts"

const until = (group: WorkerGroup.WorkerGroup<any, any>, tag: GroupEvent["_tag"], count = 1) =>
  Stream.runCollect(Stream.take(Stream.filter(group.events, (event) => event._tag === tag), count))

for (const [transport, scope, incarnations] of [["shm", "all", [1, 2, 2]], ["tcp", "rest", [0, 2, 2]]] as const) {
  describe(`supervision of processes over ${transport}`, () => {
    it.live(`SU-1 SU-4: a process that is killed or freezes is started again in its place, and never thaws into the group; scope ${scope} takes others along`, () =>
      Effect.scoped(Effect.gen(function*() {
        let takes: "one" | typeof scope = "one"
        const { group, pids } = yield* start(3, {
          transport,
          supervision: Supervision.choose(() => Supervision.restart({ max: 5, per: "1 minute", backoff: "1 millis", scope: takes })),
          heartbeat: { every: "100 millis", frozen: "300 millis" }
        })
        const flying = yield* Effect.forkChild(Effect.flip(group.at(1).call.hold({ stderr: ["last words"] })), { startImmediately: true })
        process.kill(pids[1]!, "SIGKILL")
        const { reason } = yield* Fiber.join(flying)
        assert(reason._tag === "WorkerDied")
        yield* group.call.print({ stream: "stdout", text: "" })
        process.kill(pids[2]!, "SIGSTOP")
        yield* until(group, "Restarted", 2)
        yield* group.call.print({ stream: "stdout", text: "" })
        const now = group.workers
        assert.deepStrictEqual(now.map(({ incarnation }) => incarnation), [0, 1, 1])
        assert.deepStrictEqual([now[0]!.pid, now[1]!.pid === pids[1], now[2]!.pid === pids[2]], [pids[0], false, false])
        yield* eventually("the frozen one is gone", () => !lives(pids[2]!))
        // The heartbeat brings what each rank's end of the queues has done.
        yield* Effect.repeat(group.stats, { until: (stats) => stats.length === 4, schedule: Schedule.spaced("5 millis") })
        for (const [, { frames }] of yield* group.stats) assert.isAbove(frames!, 0)
        takes = scope
        process.kill(now[1]!.pid!, "SIGKILL")
        yield* until(group, "Restarted", scope === "all" ? 5 : 4)
        yield* group.call.print({ stream: "stdout", text: "" })
        const after = group.workers
        assert.deepStrictEqual(after.map(({ incarnation }) => incarnation), [...incarnations])
        for (const [rank, { incarnation, pid }] of now.entries()) {
          if (incarnation === incarnations[rank]) assert.strictEqual(after[rank]!.pid, pid)
          else yield* eventually(`process ${pid} of rank ${rank} is gone`, () => after[rank]!.pid !== pid && !lives(pid!))
          assert.isTrue(lives(after[rank]!.pid!))
        }
      })))
  })
}

/** What Effect's registry says of what the queues of a group's processes have done: by process. */
const queueGauges = (name: string, what: string) =>
  Effect.map(Metric.snapshot, (metrics) =>
    new Map(metrics.flatMap(({ attributes, id, state }) => {
      const of = attributes as Readonly<Record<string, string>> | undefined
      if (id !== "phalanx_queue" || of?.["group"] !== name || of["what"] !== what || !("value" in state)) return []
      return [[of["process"]!, Number(state.value)] as const]
    })))

it.live("SU-7 MT-1: a group of processes goes on without a slice, ends those that leave with it, and tells how long its queues look and rest", () =>
  Effect.scoped(Effect.gen(function*() {
    const { group, pids } = yield* start(2, {
      transport: "shm",
      supervision: Supervision.shrink({ along: "rank" }),
      heartbeat: { every: "20 millis" }
    })
    process.kill(pids[0]!, "SIGKILL")
    yield* until(group, "Resized")
    yield* group.call.print({ stream: "stdout", text: "" })
    assert.deepStrictEqual(group.workers.map(({ id, pid, rank }) => [id, rank, pid]), [[1, 0, pids[1]]])
    yield* Metrics.publish(group, { every: "5 millis" })
    const rested = queueGauges(group.name, "parkMillis")
    const often = Schedule.spaced("5 millis")
    yield* Effect.repeat(rested, { until: (told) => told.has("driver") && told.has("0"), schedule: often })
    const known = yield* rested
    // Nobody calls: both rest, but for the heartbeat.
    const rest = (now: ReadonlyMap<string, number>) => ["driver", "0"].every((process) => now.get(process)! > known.get(process)!)
    yield* Effect.repeat(rested, { until: rest, schedule: often })
    const looked = yield* queueGauges(group.name, "spinMillis")
    for (const process of ["driver", "0"]) {
      assert.isAtLeast(known.get(process)!, 0)
      assert.isAtLeast(looked.get(process)!, 0)
    }
  })))

it.live("CO-10: what a killed worker had in the segments' folder goes with it, while the group goes on", () =>
  Effect.gen(function*() {
    const segments = yield* folder
    const group = yield* WorkerGroup.make(Tally, {
      mesh: Mesh.make({ rank: 2 }),
      entry: new URL("./fixtures/tally.ts", import.meta.url),
      supervision: Supervision.restart({ max: 1, per: "1 minute" })
    }).pipe(Effect.provide(NodeCluster.layerWith({ folder: segments })))
    yield* group.call.meet()
    const files = filesIn(segments).length
    const { pid } = group.workers[1]!
    process.kill(pid!, "SIGKILL")
    yield* until(group, "Restarted")
    yield* group.call.meet()
    assert.deepStrictEqual(filesIn(segments).filter((file) => file.endsWith(`-${pid}`)), [])
    assert.strictEqual(filesIn(segments).length, files)
  }).pipe(Effect.scoped))
