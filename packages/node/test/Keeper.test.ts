import { assert, describe, it } from "@effect/vitest"
import * as Supervision from "@phalanx/core/Supervision"
import * as Registry from "@phalanx/node/Registry"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Net from "node:net"
import { join } from "node:path"
import * as keeping from "../src/internal/keeping.ts"
import * as Proof from "../src/internal/proof.ts"
import * as records from "../src/internal/record.ts"
import { drive } from "./fixtures/drive.ts"
import { start } from "./fixtures/start.ts"
import { argv, eventually, filesIn, folder, lives, processesNaming, stat } from "./fixtures/system.ts"

/** The one group that a registry holds. */
const recorded = (registry: string) => {
  const [entry] = filesIn(registry)
  const path = join(registry, entry!)
  return { path, record: records.read(path)! }
}
const parentOf = (pid: number): number => Number(stat(pid)[1])
const keeperOf = (registry: string): number => recorded(registry).record.keeper!.pid

/** A group with a keeper, in a registry of its own. */
const keep = Effect.fnUntraced(function*(ranks: number, options: Parameters<typeof start>[1] = {}) {
  const registry = options.registry ?? (yield* folder)
  const started = yield* start(ranks, { keeper: {}, ...options, registry })
  return { ...started, registry, keeper: keeperOf(registry) }
})

describe("a keeper", () => {
  it.live("KE-1: has the workers as its children, outside of the driver's session, and is gone at once when the driver ends in order", () =>
    Effect.gen(function*() {
      const registry = yield* folder
      const segments = yield* folder
      const { keeper, lines, pids } = yield* Effect.scoped(Effect.gen(function*() {
        const { group, keeper, lines, pids } = yield* keep(2, { registry, folder: segments })
        assert.deepStrictEqual(pids.map(parentOf), [keeper, keeper])
        assert.strictEqual(stat(keeper)[3], String(keeper))
        assert.match(argv(keeper), /^phalanx group-[0-9a-f]{8} keeper/)
        const { path, record: { secret } } = recorded(registry)
        assert.strictEqual(Fs.statSync(join(path, keeping.socketName)).mode & 0o777, 0o600)
        assert.notInclude(argv(keeper), secret)
        yield* group.at(1).call.print({ stream: "stdout", text: "heard\n" })
        yield* eventually("what a worker prints is heard", () => lines.some(({ rank, text }) => rank === 1 && text === "heard"))
        return { keeper, lines, pids }
      }))
      assert.deepStrictEqual([keeper, ...pids].filter(lives), [])
      assert.deepStrictEqual(lines.filter(({ text }) => text === "finalized").map(({ rank }) => rank).sort(), [0, 1])
      assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  it.live("KE-2 CO-4: tells how its workers end as their driver would have seen it, with their last words", () =>
    Effect.gen(function*() {
      const { group, keeper, pids } = yield* keep(3, { supervision: Supervision.restart({ max: 9, per: "1 minute" }) })
      const cases = [
        [() => group.at(0).call.exit({ code: 7 }), { _tag: "Exited", code: 7 }, "exit"],
        [
          () => Effect.andThen(Effect.orDie(group.kill(1)), group.at(1).call.hold({ stderr: [] })),
          { _tag: "Killed", signal: "SIGKILL" },
          "signal"
        ],
        [() => group.at(2).call.throwLater(), { _tag: "Exited", code: 1 }, "uncaught-exception"]
      ] as const
      for (const [rank, [call, death, reason]] of cases.entries()) {
        const { reason: died } = yield* Effect.flip(call())
        assert.strictEqual(died._tag, "WorkerDied")
        if (died._tag !== "WorkerDied") return
        assert.deepStrictEqual([died.rank, died.pid, died.death, died.reason], [rank, pids[rank], death, reason])
        assert.include(died.flight.map(({ kind }) => kind), "ready")
        if (rank === 2) assert.include(died.stderr.join("\n"), "nobody catches this")
      }
      yield* group.call.print({ stream: "stdout", text: "" })
      assert.deepStrictEqual(group.workers.map(({ incarnation, pid }) => [incarnation, parentOf(pid!)]), [[1, keeper], [1, keeper], [
        1,
        keeper
      ]])
    }).pipe(Effect.scoped))

  it.live("KE-2: says why a worker is not started, as its driver would", () =>
    Effect.gen(function*() {
      const registry = yield* folder
      const error = yield* Effect.flip(Effect.scoped(start(1, { registry, keeper: {}, node: "/nowhere/node" })))
      assert.match(error.message, /keeper could not be started: .*ENOENT.*The option `node` names the binary/)
      assert.deepStrictEqual(filesIn(registry), [])
    }).pipe(Effect.scoped))

  it.live("KE-3: outlives a driver that is killed, with its workers, until the lease is over, and then nothing of any is left", () =>
    Effect.gen(function*() {
      const { child, name, output, pids, registry, segments } = yield* drive("spin", "shm", 1500)
      yield* eventually("rank 0 computes", () => output().includes("spinning"))
      const keeper = keeperOf(registry)
      child.kill("SIGKILL")
      yield* eventually("the driver is gone", () => child.signalCode !== null)
      const killed = performance.now()
      // Whoever sweeps meanwhile leaves them alone.
      const looked = Effect.flatMap(Registry.Registry, ({ groups, sweep }) => Effect.all([sweep, groups]))
      const [swept, { groups }] = yield* Effect.provide(looked, Registry.layerWith({ folder: registry }))
      assert.deepStrictEqual(groups.map(({ alive, kept }) => [alive, kept]), [[false, true]])
      assert.deepStrictEqual([swept, [keeper, ...pids].every(lives)], [[], true])
      yield* eventually("all are gone", () => ![keeper, ...pids].some(lives), 20_000)
      assert.isAbove(performance.now() - killed, 500)
      assert.deepStrictEqual([...processesNaming(name), ...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  it.live("KE-4: takes its workers along when it is killed, and with them what they had started; supervision goes on with another one", () =>
    Effect.gen(function*() {
      const { group, keeper, pids, registry } = yield* keep(2, { supervision: Supervision.restart({ max: 9, per: "1 minute" }) })
      const child = yield* group.at(1).call.start({ detached: false })
      process.kill(keeper, "SIGKILL")
      const deaths = yield* Stream.runCollect(Stream.take(group.deaths, 2))
      assert.deepStrictEqual(
        deaths.map(({ death, rank, stderr }) => [rank, death, stderr]).sort(),
        [0, 1].map((rank) => [
          rank,
          { _tag: "Killed", signal: "SIGKILL" },
          [`ended together with its keeper, process ${keeper}`]
        ])
      )
      yield* eventually("they are gone", () => ![...pids, child].some(lives), 1000)
      yield* group.call.print({ stream: "stdout", text: "" })
      const next = keeperOf(registry)
      assert.notStrictEqual(next, keeper)
      assert.deepStrictEqual(group.workers.map(({ pid }) => parentOf(pid!)), [next, next])
    }).pipe(Effect.scoped))

  it.live("KE-4: that is stopped is lost when it leaves its lease unanswered", () =>
    Effect.gen(function*() {
      const { group, keeper, pids } = yield* keep(1, { keeper: { lease: "400 millis" } })
      process.kill(keeper, "SIGSTOP")
      const { death } = yield* Effect.flip(group.failure)
      assert.deepStrictEqual(death, { _tag: "Killed", signal: "SIGKILL" })
      yield* eventually("both are gone", () => ![keeper, ...pids].some(lives), 1000)
    }).pipe(Effect.scoped))

  it.live("KE-5: killed together with its driver leaves no process; the next start removes the files", () =>
    Effect.gen(function*() {
      const { child, gone, registry, segments } = yield* drive("spin", "shm", 60_000)
      const keeper = keeperOf(registry)
      child.kill("SIGKILL")
      process.kill(keeper, "SIGKILL")
      yield* gone(1000)
      yield* eventually("the driver is gone", () => child.signalCode !== null)
      assert.strictEqual(filesIn(registry).length, 1)
      yield* Effect.scoped(start(1, { registry }))
      assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  it.live("KE-6: says nothing to whoever does not know the group's secret, and hears no driver but the latest", () =>
    Effect.gen(function*() {
      const { group, keeper, registry } = yield* keep(1)
      const { path, record: { secret } } = recorded(registry)
      /** What somebody hears who claims to be a driver. */
      const claim = (secret: string, generation: number, then: object) =>
        Effect.callback<ReadonlyArray<any>>((resume) => {
          const heard: Array<any> = []
          const socket = Net.connect(join(path, keeping.socketName))
          socket.on("error", () => {}).on("close", () => resume(Effect.succeed(heard.slice(1))))
          keeping.listen(socket, (line) => {
            const message = JSON.parse(line)
            if (heard.push(message) > 1) return true
            const proof = Proof.of(secret, keeping.about("driver", message.nonce, generation))
            const options = { queues: {}, prints: false, grace: 1, env: {}, execArgv: [], node: "" }
            // In one piece: a keeper that has refused may have closed the socket before another one.
            socket.write(keeping.line({ generation, leaseMillis: 1, nonce: keeping.nonce(), proof, options }) + keeping.line(then))
            return true
          })
        })
      const kill = { _tag: "Kill", ask: 0, worker: { member: 0, incarnation: 0 }, signal: "SIGKILL" }
      assert.deepStrictEqual(yield* claim("00".repeat(16), 9, kill), [])
      assert.deepStrictEqual(yield* claim(secret, 0, kill), [{ replacedBy: 0 }])
      yield* group.call.print({ stream: "stdout", text: "" })
      assert.isTrue(lives(keeper))
    }).pipe(Effect.scoped))
})
