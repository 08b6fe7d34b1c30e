import { assert, layer } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as records from "../src/internal/record.ts"
import { eventually, filesIn, folder, lives, stat } from "./fixtures/system.ts"
import type { Driven } from "./fixtures/tallyDriver.ts"
import { Tally } from "./fixtures/tallyProtocol.ts"

const program = fileURLToPath(new URL("./fixtures/tallyDriver.ts", import.meta.url))

/** A driver in a process of its own, and what a successor of it needs for each of its groups. */
const drive = Effect.fnUntraced(function*<Name extends string>(
  lease: number,
  groups: Record<Name, Pick<Driven, "size" | "to" | "transport">>
) {
  const names = Object.keys(groups) as Array<Name>
  const driven = yield* Effect.forEach(
    names,
    (name) => Effect.all({ segments: folder, registry: folder }).pipe(Effect.map((folders): Driven => ({ ...groups[name], ...folders })))
  )
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [program, String(lease), JSON.stringify(driven)], {
        stdio: ["ignore", "pipe", "inherit"],
        // Sockets go beside the segments of the group that has some.
        env: { ...process.env, TMPDIR: (driven.find(({ transport }) => transport === "ipc") ?? driven[0]!).segments }
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text)
  yield* eventually("the driver has started its groups", () => output.includes("\n"), 50_000)
  const told: ReadonlyArray<{ readonly name: string; readonly pids: ReadonlyArray<number> }> = JSON.parse(output.split("\n")[0]!)
  const kill = Effect.andThen(
    Effect.sync(() => child.kill("SIGKILL")),
    eventually("the driver is gone", () => child.signalCode !== null)
  )
  const successor = Effect.fnUntraced(function*(index: number) {
    const { name, pids } = told[index]!
    const { registry, segments, size, transport } = driven[index]!
    const record = () => records.read(join(registry, filesIn(registry)[0]!))!
    const keeper = record().keeper!.pid
    // A case that failed may have left it.
    yield* Effect.addFinalizer(() => Effect.sync(() => lives(keeper) && process.kill(keeper, "SIGKILL")))
    const adopt = (options: Partial<WorkerGroup.AdoptOptions<typeof Tally, "rank">> = {}) =>
      WorkerGroup.adopt(Tally, {
        group: name,
        mesh: Mesh.make({ rank: size }),
        entry: new URL("./fixtures/tally.ts", import.meta.url),
        supervision: Supervision.restart({ max: 9, per: "1 minute" }),
        capacity: 6,
        ...options
      }).pipe(Effect.provide(NodeCluster.layerWith({ folder: segments, registry, transport, keeper: {}, output: "ignore" })))
    return { adopt, keeper, name, pids, record, registry, segments }
  })
  type Successor = Effect.Success<ReturnType<typeof successor>>
  const of = {} as Record<Name, Successor>
  for (const [index, name] of names.entries()) of[name] = yield* successor(index)
  return { child, kill, of, output: () => output }
})

/** What somebody may do by hand to a lock that is held. */
const remakeLock = (registry: string): void => {
  const lock = join(registry, filesIn(registry)[0]!, "lock")
  Fs.rmSync(lock)
  Fs.writeFileSync(lock, "", { mode: 0o600 })
}

const started = drive(120_000, {
  shm: { transport: "shm", size: 2, to: 3 },
  tcp: { transport: "tcp", size: 3, to: 2 },
  ipc: { transport: "ipc", size: 2 },
  ended: { transport: "shm", size: 1 },
  stopped: { transport: "shm", size: 2 },
  bereft: { transport: "shm", size: 2 }
})

/** One driver for all that is told of drivers that were killed: each case takes over another of its groups. */
class Former extends Context.Service<Former, Effect.Success<typeof started>>()("Former") {
  static readonly layer = Layer.effect(Former, started)
}

layer(Former.layer, { excludeTestServices: true })("a driver that takes over", (it) => {
  it.effect("AD-3 AD-4: is refused while the former one lives, for a group that there is not, and with another mesh; of two at once one gets it, and is told of those that died meanwhile", () =>
    Effect.gen(function*() {
      const { kill, of: { bereft: { adopt, name, pids, record } } } = yield* Former
      const refused = (options: Parameters<typeof adopt>[0]) => Effect.flip(Effect.scoped(adopt(options)))
      const driven = yield* refused({})
      assert.deepStrictEqual([driven._tag, driven._tag === "AdoptError" && driven.reason], ["AdoptError", "driven"])
      assert.strictEqual(driven.message, `${name} is not adopted: its driver lives. End that one first, or leave the group to it`)
      yield* kill
      assert.match((yield* refused({ group: `${name}0` })).message, /there is no such group in .*Give its full name/)
      assert.match(
        (yield* refused({ mesh: Mesh.make({ tp: 2 }) as any })).message,
        /its mesh has the dimensions rank\. Adopt it with the mesh/
      )
      process.kill(pids[0]!, "SIGKILL")
      yield* eventually("rank 0 is gone", () => !lives(pids[0]!))
      const exits = yield* Effect.all([Effect.exit(adopt()), Effect.exit(adopt())], { concurrency: "unbounded" })
      const [winner] = exits.flatMap((exit) => exit._tag === "Success" ? [exit.value] : [])
      assert.deepStrictEqual(exits.map(({ _tag }) => _tag).sort(), ["Failure", "Success"])
      // Its supervision has started that one again.
      const [died] = yield* Stream.runCollect(Stream.take(winner!.deaths, 1))
      assert.deepStrictEqual([died!.rank, died!.pid, died!.death], [0, pids[0], { _tag: "Killed", signal: "SIGKILL" }])
      assert.deepStrictEqual(yield* winner!.call.add({ n: 1 }), [1, 6])
      assert.deepStrictEqual(record().members.map(({ id, incarnation, rank }) => [id, rank, incarnation]), [[0, 0, 1], [1, 1, 0]])
    }).pipe(Effect.scoped))

  for (
    const [transport, words, changed, lanes] of [
      ["shm", ", and gives up a size that was only prepared", true, 1],
      ["tcp", ", in the size that was committed", true, 2],
      ["ipc", "", false, 0]
    ] as const
  ) {
    it.effect(`AD-1 AD-2 AD-5: goes on with the workers of one that was killed, as they are, over ${transport}${words}; nothing is left in the end`, () =>
      Effect.gen(function*() {
        const { kill, of: { [transport]: { adopt, keeper, pids, record, registry, segments } } } = yield* Former
        const before = record().members.map(({ pid }) => pid)
        yield* kill
        yield* Effect.scoped(Effect.gen(function*() {
          const group = yield* adopt()
          assert.deepStrictEqual(group.workers.map(({ id, incarnation, pid, rank }) => [id, rank, incarnation, pid]), [
            [0, 0, 0, pids[0]],
            [1, 1, 0, pids[1]]
          ])
          assert.deepStrictEqual(group.mesh.shape, { rank: 2 })
          // Rank 1 had a call that kept its turn.
          assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [6, 6])
          const { fenced, ...others } = yield* group.counters
          assert.deepStrictEqual(others, { late: 0, unexpected: 0 })
          // The one that was given up may still say something on each lane on which it answers: over TCP, that it has heard.
          assert.isAtMost(fenced, lanes)
          assert.deepStrictEqual(yield* group.call.meet(), [[0, 0], [0, 0]])
          assert.deepStrictEqual([record().generation, record().driver.pid], [1, process.pid])
          // It is a group like any other: it changes its size, and a rank that dies is started again by the same keeper.
          if (changed) {
            const left = before.filter((pid) => !pids.includes(pid))
            yield* eventually("those that are not needed are gone", () => !left.some(lives))
            yield* Effect.scoped(Effect.flatMap(group.prepare({ to: { rank: 3 } }), ({ commit }) => commit))
            assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [7, 7, 1])
            assert.deepStrictEqual((yield* group.call.meet())[0]!.length, 3)
          } else {
            process.kill(pids[0]!, "SIGKILL")
            const [died] = yield* Stream.runCollect(Stream.take(group.deaths, 1))
            assert.deepStrictEqual([died!.rank, died!.death], [0, { _tag: "Killed", signal: "SIGKILL" }])
            assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [1, 7])
            assert.deepStrictEqual(yield* group.call.meet(), [[1, 0], [1, 0]])
          }
          assert.isTrue(lives(keeper))
        }))
        assert.deepStrictEqual([keeper, ...pids].filter(lives), [])
        assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
      }).pipe(Effect.scoped))
  }

  it.effect("AD-3: comes too late when the workers have ended, and what they have left goes with the next start", () =>
    Effect.gen(function*() {
      const { kill, of: { ended: { adopt, keeper, name, pids } } } = yield* Former
      yield* kill
      process.kill(keeper, "SIGKILL")
      yield* eventually("the workers are gone", () => !pids.some(lives))
      const error = yield* Effect.flip(Effect.scoped(adopt()))
      assert.match(
        error.message,
        new RegExp(`^${name} is not adopted: the workers of its driver, process \\d+, have ended\\. Start it anew`)
      )
    }).pipe(Effect.scoped))

  it.effect("AD-3: ends the group if a worker lives and does not answer in time", () =>
    Effect.gen(function*() {
      const { kill, of: { stopped: { adopt, keeper, pids, registry, segments } } } = yield* Former
      yield* kill
      process.kill(pids[1]!, "SIGSTOP")
      const error = yield* Effect.flip(Effect.scoped(adopt({ readyWithin: "300 millis" })))
      assert.match(
        error.message,
        new RegExp(`: processes ${pids[1]} did not answer within 300ms\\. They computed all that time, or were stopped`)
      )
      assert.deepStrictEqual([[keeper, ...pids].filter(lives), filesIn(registry), filesIn(segments)], [[], [], []])
    }).pipe(Effect.scoped))

  for (const transport of ["shm", "tcp"] as const) {
    it.effect(`AD-1 AD-6: has the workers, as they are, of one that lives and whose lock was made anew, over ${transport}`, () =>
      Effect.gen(function*() {
        const { child, of: { living: { adopt, pids, registry } }, output } = yield* drive(120_000, { living: { transport, size: 2 } })
        remakeLock(registry)
        const group = yield* adopt()
        yield* eventually("the former driver ends", () => child.exitCode !== null)
        assert.include(output(), "failed: replaced")
        assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [6, 6])
        assert.deepStrictEqual(yield* group.call.meet(), [[0, 0], [0, 0]])
        assert.deepStrictEqual(group.workers.map(({ incarnation, pid }) => [incarnation, pid]), pids.map((pid) => [0, pid]))
      }).pipe(Effect.scoped))
  }

  it.effect("AD-6: is not disturbed by one that thaws, which is told that it was replaced and is counted", () =>
    Effect.gen(function*() {
      const { child, of: { thawing: { adopt, pids, registry } }, output } = yield* drive(4000, { thawing: { transport: "shm", size: 2 } })
      const stopped = performance.now()
      child.kill("SIGSTOP")
      yield* eventually("the driver is stopped", () => stat(child.pid!)[0] === "T")
      // One that is stopped keeps its lock.
      remakeLock(registry)
      const group = yield* adopt()
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [6, 6])
      // When it goes on it has a lease to renew first of all.
      yield* eventually("its renewal is overdue", () => performance.now() - stopped > 1100)
      child.kill("SIGCONT")
      yield* eventually("the former driver ends", () => child.exitCode !== null)
      assert.include(output(), "failed: replaced")
      assert.deepStrictEqual(group.workers.map(({ pid }) => pid!), pids)
      yield* group.kill(1)
      yield* Stream.runCollect(Stream.take(group.deaths, 1))
      assert.deepStrictEqual(yield* group.call.add({ n: 1 }), [7, 1])
      assert.deepStrictEqual(yield* group.call.meet(), [[0, 1], [0, 1]])
      assert.isAbove((yield* group.counters).fenced, 0)
    }).pipe(Effect.scoped))
})
