import { assert, describe } from "@effect/vitest"
import * as Registry from "@phalanx/node/Registry"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { environment } from "../../../test/harness/ray.ts"
import { Another, type Beside, childrenNaming, cluster, eventually, lives, scouts } from "./cluster.ts"

const program = fileURLToPath(new URL("./fixtures/driver.ts", import.meta.url))

const told = /^group (.*)\npids (.*)\n/m

/** A folder where drivers record their groups. */
const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-driven-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** Runs a driver, and gives the pids of its workers once it has told them. */
const drive = Effect.fnUntraced(function*(runtime: string, ...args: ReadonlyArray<string>) {
  let output = ""
  const registry = join(runtime, "phalanx")
  // Whatever a killed one has left is gone in the end, as the next start would have it.
  yield* Effect.addFinalizer(() =>
    Effect.ignore(Effect.flatMap(Registry.Registry, ({ sweep }) => sweep).pipe(Effect.provide(Registry.layerWith({ folder: registry }))))
  )
  const env = { ...process.env, ...yield* environment, XDG_RUNTIME_DIR: runtime }
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
        env
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text)
  yield* eventually("the driver tells its workers' pids", Effect.sync(() => told.test(output)), 30_000)
  const [, group, pids] = told.exec(output)!
  return { child, group: group!, pids: pids!.split(" ").map(Number), output: () => output }
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
        const killed = yield* drive(runtime, "2")
        assert.isTrue(killed.pids.every(lives))
        assert.isNotEmpty(segments(killed.group))
        killed.child.kill("SIGKILL")
        yield* gone(killed.pids, 1000)

        const { child, output, pids } = yield* drive(runtime, "2")
        // The files of the first one's queues have gone with this start.
        assert.deepStrictEqual(segments(killed.group), [])
        child.kill("SIGTERM")
        yield* eventually("the driver is gone", Effect.sync(() => child.exitCode !== null))
        yield* gone(pids, 0)
        assert.strictEqual(output().match(/\] finalized/g)?.length, 2)
      }))

    it.effect("RY-6: a detached group that nobody takes over ends itself when its time is over", () =>
      Effect.gen(function*() {
        const { child, pids } = yield* drive(yield* folder, "1", "2")
        const killed = performance.now()
        child.kill("SIGKILL")
        yield* gone(pids, 6000)
        assert.isAbove(performance.now() - killed, 1000)
      }))

    it.layer(cluster({ detachedFor: "30 seconds" }), { timeout: 120_000 })((it) => {
      it.effect("RY-6: a detached group outlives its driver, and the next one takes it over by its name and can end it", () =>
        Effect.gen(function*() {
          const { child, pids } = yield* drive(yield* folder, "2", "30")
          child.kill("SIGKILL")
          const ray = yield* RayCluster.Ray
          const [adopted, ...others] = yield* ray.adopt
          assert.deepStrictEqual(others, [])
          assert.match(adopted!.group, /^driven-[0-9a-f]{8}$/)
          assert.deepStrictEqual(
            adopted!.workers.map(({ member, process }) => [member, process.pid]).toSorted(),
            pids.map((pid, member) => [member, pid])
          )
          assert.isTrue(pids.every(lives))
          process.kill(pids[1]!, "SIGKILL")
          const { death } = yield* adopted!.workers.find(({ member }) => member === 1)!.process.end
          assert.deepStrictEqual(death, { _tag: "Killed", signal: "SIGKILL" })
          yield* adopted!.end
          yield* gone(pids, 1000)
        }))

      it.effect("RY-6: a detached group outlives its bridge, and goes on with the next one", () =>
        Effect.gen(function*() {
          const before = childrenNaming("bridge.py")
          const pid = yield* Effect.scoped(Effect.gen(function*() {
            const group = yield* scouts(2)
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
            return group.workers[1]!.pid!
          }))
          yield* gone([pid], 0)
        }))
    })
  })
