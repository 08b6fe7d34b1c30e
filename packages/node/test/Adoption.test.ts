import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as records from "../src/internal/record.ts"
import { eventually, filesIn, folder, lives, stat } from "./fixtures/system.ts"
import { Tally } from "./fixtures/tallyProtocol.ts"

const program = fileURLToPath(new URL("./fixtures/tallyDriver.ts", import.meta.url))

interface Options {
  readonly transport?: "shm" | "tcp" | "ipc"
  readonly lease?: number
  readonly size?: number
}

/** A driver in a process of its own, and what a successor of it needs. */
const drive = Effect.fnUntraced(function*({ lease = 60_000, size, transport = "shm" }: Options = {}) {
  const segments = yield* folder
  const registry = yield* folder
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const args = [segments, registry, transport, lease, ...(size === undefined ? [] : [size])].map(String)
      return spawn(process.execPath, [program, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
        env: { ...process.env, TMPDIR: segments }
      })
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text)
  yield* eventually("the driver has started its group", () => output.includes("\n"), 40_000)
  const { name, pids }: { readonly name: string; readonly pids: ReadonlyArray<number> } = JSON.parse(output.split("\n")[0]!)
  const record = () => records.read(join(registry, filesIn(registry)[0]!))!
  const keeper = record().keeper!.pid
  const kill = Effect.andThen(
    Effect.sync(() => child.kill("SIGKILL")),
    eventually("the driver is gone", () => child.signalCode !== null)
  )
  const adopt = (options: Partial<WorkerGroup.AdoptOptions<typeof Tally, "rank">> = {}) =>
    WorkerGroup.adopt(Tally, {
      group: name,
      mesh: Mesh.make({ rank: 3 }),
      entry: new URL("./fixtures/tally.ts", import.meta.url),
      supervision: Supervision.restart({ max: 9, per: "1 minute" }),
      capacity: 6,
      ...options
    }).pipe(Effect.provide(NodeCluster.layerWith({ folder: segments, registry, transport, keeper: {}, output: "ignore" })))
  return { adopt, child, keeper, kill, name, output: () => output, pids, record, registry, segments }
})

describe("a driver that takes over", () => {
  for (const transport of ["shm", "tcp", "ipc"] as const) {
    it.live(`AD-1 AD-2: goes on with the workers of one that was killed, as they are, over ${transport}; nothing is left in the end`, () =>
      Effect.gen(function*() {
        const { adopt, keeper, kill, pids, record, registry, segments } = yield* drive({ transport })
        yield* kill
        yield* Effect.scoped(Effect.gen(function*() {
          const group = yield* adopt()
          assert.deepStrictEqual(group.workers.map(({ id, incarnation, pid, rank }) => [id, rank, incarnation, pid]), [
            [0, 0, 0, pids[0]],
            [1, 1, 0, pids[1]],
            [2, 2, 0, pids[2]]
          ])
          // Rank 1 had a call that kept its turn.
          assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [6, 6, 6])
          assert.deepStrictEqual(yield* group.counters, { late: 0, unexpected: 0, fenced: 0 })
          assert.deepStrictEqual(yield* group.call.meet(), [[0, 0, 0], [0, 0, 0], [0, 0, 0]])
          assert.deepStrictEqual([record().generation, record().driver.pid], [1, process.pid])
          // It is a group like any other: a rank that dies is started again by the same keeper.
          process.kill(pids[2]!, "SIGKILL")
          const [died] = yield* Stream.runCollect(Stream.take(group.deaths, 1))
          assert.deepStrictEqual([died!.rank, died!.death], [2, { _tag: "Killed", signal: "SIGKILL" }])
          assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [7, 7, 1])
          assert.deepStrictEqual(yield* group.call.meet(), [[0, 0, 1], [0, 0, 1], [0, 0, 1]])
        }))
        assert.deepStrictEqual([keeper, ...pids].filter(lives), [])
        assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
      }).pipe(Effect.scoped))
  }

  it.live("AD-3: is refused while the former one lives, for a group that there is not, and with another mesh; of two at once one gets it", () =>
    Effect.gen(function*() {
      const { adopt, kill, name, pids } = yield* drive()
      const refused = (options: Parameters<typeof adopt>[0]) => Effect.flip(Effect.scoped(adopt(options)))
      const driven = yield* refused({})
      assert.deepStrictEqual([driven._tag, driven._tag === "AdoptError" && driven.reason], ["AdoptError", "driven"])
      assert.strictEqual(driven.message, `${name} is not adopted: its driver lives. End that one first, or leave the group to it`)
      yield* kill
      assert.match((yield* refused({ group: `${name}0` })).message, /there is no such group in .*Give its full name/)
      assert.match(
        (yield* refused({ mesh: Mesh.make({ tp: 3 }) as any })).message,
        /its mesh has the dimensions rank\. Adopt it with the mesh/
      )
      const exits = yield* Effect.all([Effect.exit(adopt()), Effect.exit(adopt())], { concurrency: "unbounded" })
      const [winner] = exits.flatMap((exit) => exit._tag === "Success" ? [exit.value] : [])
      assert.deepStrictEqual(exits.map(({ _tag }) => _tag).sort(), ["Failure", "Success"])
      assert.deepStrictEqual(yield* winner!.call.add({ n: 0 }), [5, 5, 5])
      assert.deepStrictEqual(winner!.workers.map(({ pid }) => pid!), pids)
    }).pipe(Effect.scoped))

  it.live("AD-3: comes too late when the workers have ended, and what they have left goes with the next start", () =>
    Effect.gen(function*() {
      const { adopt, keeper, kill, name, pids } = yield* drive()
      yield* kill
      process.kill(keeper, "SIGKILL")
      yield* eventually("the workers are gone", () => !pids.some(lives))
      const error = yield* Effect.flip(Effect.scoped(adopt()))
      assert.match(
        error.message,
        new RegExp(`^${name} is not adopted: the workers of its driver, process \\d+, have ended\\. Start it anew`)
      )
    }).pipe(Effect.scoped))

  it.live("AD-3: ends the group if a worker lives and does not answer in time", () =>
    Effect.gen(function*() {
      const { adopt, keeper, kill, pids, registry, segments } = yield* drive()
      yield* kill
      process.kill(pids[1]!, "SIGSTOP")
      const error = yield* Effect.flip(Effect.scoped(adopt({ readyWithin: "300 millis" })))
      assert.match(
        error.message,
        new RegExp(`: processes ${pids[1]} did not answer within 300ms\\. They computed all that time, or were stopped`)
      )
      assert.deepStrictEqual([[keeper, ...pids].filter(lives), filesIn(registry), filesIn(segments)], [[], [], []])
    }).pipe(Effect.scoped))

  it.live("AD-4: is told of those that died meanwhile, whom its supervision has started again", () =>
    Effect.gen(function*() {
      const { adopt, kill, pids, record } = yield* drive()
      yield* kill
      process.kill(pids[0]!, "SIGKILL")
      yield* eventually("rank 0 is gone", () => !lives(pids[0]!))
      const group = yield* adopt()
      const [died] = yield* Stream.runCollect(Stream.take(group.deaths, 1))
      assert.deepStrictEqual([died!.rank, died!.pid, died!.death], [0, pids[0], { _tag: "Killed", signal: "SIGKILL" }])
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [1, 6, 6])
      assert.deepStrictEqual(record().members.map(({ id, incarnation, rank }) => [id, rank, incarnation]), [[0, 0, 1], [1, 1, 0], [
        2,
        2,
        0
      ]])
    }).pipe(Effect.scoped))

  for (
    const [words, size, expected] of [["gives up a size that was only prepared", 5, 3], ["has the size that was committed", 2, 2]] as const
  ) {
    it.live(`AD-5: ${words}, and can change it`, () =>
      Effect.gen(function*() {
        const { adopt, keeper, kill, pids, record } = yield* drive({ size })
        const before = record().members.map(({ pid }) => pid)
        yield* kill
        const group = yield* adopt()
        assert.deepStrictEqual(group.workers.map(({ pid }) => pid!), pids)
        assert.deepStrictEqual([pids.length, group.mesh.shape], [expected, { rank: expected }])
        const others = before.filter((pid) => !pids.includes(pid))
        yield* eventually("those that are not needed are gone", () => !others.some(lives))
        yield* Effect.scoped(Effect.flatMap(group.prepare({ to: { rank: 4 } }), ({ commit }) => commit))
        assert.deepStrictEqual(yield* group.call.add({ n: 1 }), Array.from({ length: 4 }, (_, rank) => rank < expected ? 6 : 1))
        assert.deepStrictEqual((yield* group.call.meet())[0]!.length, 4)
        assert.isTrue(lives(keeper))
      }).pipe(Effect.scoped))
  }

  it.live("AD-6: is not disturbed by one that thaws, which is told that it was replaced and is counted", () =>
    Effect.gen(function*() {
      const { adopt, child, output, pids, registry } = yield* drive({ lease: 4000 })
      const stopped = performance.now()
      child.kill("SIGSTOP")
      yield* eventually("the driver is stopped", () => stat(child.pid!)[0] === "T")
      // One that is stopped keeps its lock: somebody has removed it by hand.
      const lock = join(registry, filesIn(registry)[0]!, "lock")
      Fs.rmSync(lock)
      Fs.writeFileSync(lock, "", { mode: 0o600 })
      const group = yield* adopt()
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [6, 6, 6])
      // When it goes on it has a lease to renew first of all.
      yield* eventually("its renewal is overdue", () => performance.now() - stopped > 1100)
      child.kill("SIGCONT")
      yield* eventually("the former driver ends", () => child.exitCode !== null)
      assert.include(output(), "failed: replaced")
      assert.deepStrictEqual(group.workers.map(({ pid }) => pid!), pids)
      yield* group.kill(1)
      yield* Stream.runCollect(Stream.take(group.deaths, 1))
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [7, 1, 7])
      assert.deepStrictEqual(yield* group.call.meet(), [[0, 1, 0], [0, 1, 0], [0, 1, 0]])
      assert.isAbove((yield* group.counters).fenced, 0)
    }).pipe(Effect.scoped))
})
