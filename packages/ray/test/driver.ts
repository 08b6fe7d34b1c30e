import { assert, describe } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Registry from "@phalanx/node/Registry"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Another } from "../../../test/harness/Another.ts"
import { environment } from "../../../test/harness/ray.ts"
import { type Beside, childrenNaming, cluster, entry, eventually, lives } from "./cluster.ts"
import { Scout } from "./fixtures/scoutProtocol.ts"

const program = fileURLToPath(new URL("./fixtures/driver.ts", import.meta.url))

const told = /^group (.*)\npids (.*)\n/gm

/** A folder where drivers record their groups. */
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-driven-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** Where the drivers of detached groups record them, and whoever takes these over. */
class Runtime extends Context.Service<Runtime, string>()("@phalanx/ray/test/Runtime") {
  static readonly layer = Layer.effect(this, folder)
}
const detached = Layer.unwrap(
  Effect.map(Runtime, (path) => cluster({ detachedFor: "30 seconds", registry: join(path, "phalanx") }))
).pipe(Layer.provideMerge(Runtime.layer))

/** Runs a driver, and gives its groups with the pids of their workers once it has told them. */
const drive = Effect.fnUntraced(function*(runtime: string, sizes: string, ...args: ReadonlyArray<string>) {
  let output = ""
  const registry = join(runtime, "phalanx")
  // Whatever a killed one has left is gone in the end, be it that its time is not over yet.
  yield* Effect.addFinalizer(() =>
    Effect.ignore(
      Effect.flatMap(Registry.Registry, ({ groups }) => groups).pipe(
        Effect.flatMap(({ groups }) => Effect.forEach(groups.flatMap(({ record }) => record.files), QueueFiles.sweep)),
        Effect.provide(Registry.layerWith({ folder: registry }))
      )
    )
  )
  const env = { ...process.env, ...yield* environment, XDG_RUNTIME_DIR: runtime }
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, sizes, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
        env
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text)
  const groups = () => [...output.matchAll(told)].map(([, name, pids]) => ({ name: name!, pids: pids!.split(" ").map(Number) }))
  const count = sizes.split(",").length
  yield* eventually("the driver tells its workers' pids", Effect.sync(() => groups().length === count), 30_000)
  const [first, ...others] = groups()
  return { child, group: first!.name, pids: first!.pids, others, output: () => output }
})

const segments = (group: string): ReadonlyArray<string> => readdirSync("/dev/shm").filter((name) => name.startsWith(`phalanx-${group}-`))

const gone = Effect.fnUntraced(function*(pids: ReadonlyArray<number>, millis: number) {
  yield* eventually("the workers are gone", Effect.sync(() => !pids.some(lives)), millis)
  const { ask } = yield* Another
  yield* eventually(
    "no actor and no placement group is left",
    Effect.map(ask(), (known) => known.actors.length + known.groups.length === 0),
    5000
  )
})

export const driver = (it: Beside) =>
  describe("a driver's end on Ray", () => {
    it.effect("RY-5: SIGKILL of the driver takes workers, agents and placement group with it; SIGTERM ends it in order, and nothing is left", () =>
      Effect.gen(function*() {
        const runtime = yield* folder
        const killed = yield* drive(runtime, "1")
        assert.isTrue(killed.pids.every(lives))
        assert.isNotEmpty(segments(killed.group))
        killed.child.kill("SIGKILL")
        yield* gone(killed.pids, 1000)

        const { child, output, pids } = yield* drive(runtime, "1")
        // The files of the first one's queues have gone with this start.
        assert.deepStrictEqual(segments(killed.group), [])
        child.kill("SIGTERM")
        yield* eventually("the driver is gone", Effect.sync(() => child.exitCode !== null))
        yield* gone(pids, 0)
        assert.strictEqual(output().match(/\] finalized/g)?.length, 1)
      }))

    it.effect("RY-6: a detached group that nobody takes over ends itself when its time is over", () =>
      Effect.gen(function*() {
        const { child, pids } = yield* drive(yield* folder, "1", "2")
        const killed = performance.now()
        child.kill("SIGKILL")
        yield* gone(pids, 6000)
        assert.isAbove(performance.now() - killed, 1000)
      }))

    it.layer(detached, { timeout: 120_000 })((it) => {
      it.effect("RY-6 AD-1 AD-2 AD-6: a detached group outlives its driver; the next one calls it as its own, or lists it, hears its deaths and ends it; and it outlives its bridge", () =>
        Effect.gen(function*() {
          const runtime = yield* Runtime
          const former = yield* drive(runtime, "2,2", "30")
          const [ended] = former.others
          const ray = yield* RayCluster.Ray
          const adopt = WorkerGroup.adopt(Scout, {
            group: former.group,
            entry,
            mesh: Mesh.make({ rank: 2 }),
            supervision: Supervision.restart({ max: 9, per: "1 minute" }),
            capacity: 3
          })
          // Both have a driver.
          assert.deepStrictEqual(yield* ray.adopt, [])
          const driven = yield* Effect.flip(Effect.scoped(adopt))
          assert.deepStrictEqual(driven._tag === "AdoptError" && driven.reason, "driven")
          // One that is stopped keeps its lock: somebody removes it by hand.
          former.child.kill("SIGSTOP")
          const lock = join(runtime, "phalanx", former.group.slice(-40), "lock")
          rmSync(lock)
          writeFileSync(lock, "", { mode: 0o600 })
          yield* Effect.scoped(Effect.gen(function*() {
            const group = yield* adopt
            assert.deepStrictEqual(group.workers.map(({ pid, rank }) => [rank, pid]), former.pids.map((pid, rank) => [rank, pid]))
            // Rank 0 had a call that kept its turn.
            assert.strictEqual((yield* group.call.place()).length, 2)
            yield* group.call.meet()
            process.kill(former.pids[1]!, "SIGKILL")
            const [died] = yield* Stream.runCollect(Stream.take(group.deaths, 1))
            assert.deepStrictEqual([died!.rank, died!.death], [1, { _tag: "Killed", signal: "SIGKILL" }])
            yield* group.call.place()
            yield* group.call.meet()
            yield* Effect.scoped(Effect.flatMap(group.prepare({ to: { rank: 3 } }), ({ commit }) => commit))
            yield* group.call.meet()
            assert.deepStrictEqual([group.workers.length, group.workers[0]!.pid], [3, former.pids[0]])

            // When it goes on it hears that it was replaced, and does no harm.
            former.child.kill("SIGCONT")
            yield* eventually("the former driver is told", Effect.sync(() => former.output().includes("failed: replaced")))
            yield* group.call.meet()

            former.child.kill("SIGKILL")
            // Ray hears of its end a little later. The group that was taken over has a driver.
            const [listed, ...others] = yield* Effect.repeat(ray.adopt, { until: (found) => found.length > 0 })
            assert.deepStrictEqual([listed!.group, others], [ended!.name, []])
            assert.deepStrictEqual(
              listed!.workers.map(({ member, process }) => [member, process.pid]).toSorted(),
              ended!.pids.map((pid, member) => [member, pid])
            )
            process.kill(ended!.pids[1]!, "SIGKILL")
            const { death } = yield* listed!.workers.find(({ member }) => member === 1)!.process.end
            assert.deepStrictEqual(death, { _tag: "Killed", signal: "SIGKILL" })
            assert.isTrue(lives(ended!.pids[0]!))
            yield* listed!.end
            yield* eventually("its worker is gone", Effect.sync(() => !lives(ended!.pids[0]!)), 1000)

            const before = childrenNaming("bridge.py")
            const call = yield* Effect.forkChild(group.at(0).call.hold({ stderr: [] }), { startImmediately: true })
            process.kill(before[0]!, "SIGKILL")
            yield* eventually(
              "there is another bridge",
              Effect.sync(() => childrenNaming("bridge.py").some((pid) => !before.includes(pid)))
            )
            assert.strictEqual((yield* group.at(1).call.place()).node, group.workers[1]!.node)
            assert.isUndefined(call.pollUnsafe())
            yield* group.kill(0)
            const error = yield* Effect.flip(Fiber.join(call))
            assert.deepInclude(error.reason, { _tag: "WorkerDied", death: { _tag: "Killed", signal: "SIGKILL" } })
            yield* group.call.meet()
          }))
          yield* gone([...ended!.pids, ...former.pids], 1000)
          assert.deepStrictEqual(segments(former.group), [])
        }))
    })
  })
