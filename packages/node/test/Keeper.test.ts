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

/** What somebody hears of a keeper who claims to be a driver, and is held up before that for some milliseconds. */
const claim = (path: string, secret: string, generation: number, heldUp = 0) =>
  Effect.callback<ReadonlyArray<any>>((resume) => {
    const heard: Array<any> = []
    const socket = Net.connect(join(path, keeping.socketName))
    socket.on("error", () => {}).on("close", () => resume(Effect.succeed(heard.slice(1))))
    keeping.listen(socket, (line) => {
      const message = JSON.parse(line)
      if (heard.push(message) > 1) return true
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, heldUp)
      const proof = Proof.of(secret, keeping.about("driver", message.nonce, generation))
      const options = { queues: {}, prints: false, grace: 1, env: {}, execArgv: [], node: "" }
      const kill = { _tag: "Kill", ask: 0, worker: { member: 0, incarnation: 0 }, signal: "SIGKILL" }
      // In one piece: a keeper that has refused may have closed the socket before another one.
      socket.write(keeping.line({ generation, leaseMillis: 1, nonce: keeping.nonce(), proof, options }) + keeping.line(kill))
      return true
    })
  })

describe("a keeper", () => {
  it.live("KE-1 KE-6: has the workers as its children, outside of the driver's session, hears nobody but the latest driver that proves the group's secret, and is gone at once when that ends in order", () =>
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
        assert.deepStrictEqual(yield* claim(path, "00".repeat(16), 9), [])
        assert.deepStrictEqual(yield* claim(path, secret, 0, 1100), [{ replacedBy: 0 }])
        yield* group.call.print({ stream: "stdout", text: "" })
        assert.isTrue([keeper, ...pids].every(lives))
        return { keeper, lines, pids }
      }))
      assert.deepStrictEqual([keeper, ...pids].filter(lives), [])
      assert.deepStrictEqual(lines.filter(({ text }) => text === "finalized").map(({ rank }) => rank).sort(), [0, 1])
      assert.deepStrictEqual([...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  it.live("KE-2 CO-4: tells how its workers end as their driver would have seen it, with their last words", () =>
    Effect.gen(function*() {
      const { group, keeper } = yield* keep(1, { supervision: Supervision.restart({ max: 9, per: "1 minute" }) })
      const cases = [
        [() => group.call.exit({ code: 7 }), { _tag: "Exited", code: 7 }, "exit"],
        [
          () => Effect.andThen(Effect.orDie(group.kill(0)), group.call.hold({ stderr: [] })),
          { _tag: "Killed", signal: "SIGKILL" },
          "signal"
        ],
        [() => group.call.throwLater(), { _tag: "Exited", code: 1 }, "uncaught-exception"]
      ] as const
      for (const [life, [call, death, reason]] of cases.entries()) {
        const { incarnation, pid } = group.workers[0]!
        assert.deepStrictEqual([incarnation, parentOf(pid!)], [life, keeper])
        const { reason: died } = yield* Effect.flip(call())
        assert.strictEqual(died._tag, "WorkerDied")
        if (died._tag !== "WorkerDied") return
        assert.deepStrictEqual([died.incarnation, died.pid, died.death, died.reason], [life, pid, death, reason])
        assert.include(died.flight.map(({ kind }) => kind), "ready")
        if (life === 2) assert.include(died.stderr.join("\n"), "nobody catches this")
        else yield* group.call.print({ stream: "stdout", text: "" })
      }
    }).pipe(Effect.scoped))

  it.live("KE-2: says why a worker is not started, as its driver would", () =>
    Effect.gen(function*() {
      const registry = yield* folder
      const error = yield* Effect.flip(Effect.scoped(start(1, { registry, keeper: {}, node: "/nowhere/node" })))
      assert.match(error.message, /keeper could not be started: .*ENOENT.*The option `node` names the binary/)
      assert.deepStrictEqual(filesIn(registry), [])
    }).pipe(Effect.scoped))

  it.live("KE-3 KE-5: outlives a driver that is killed, with its workers, until the lease is over, and then nothing of any is left; killed together with it leaves no process, and the files to who sweeps next", () =>
    Effect.gen(function*() {
      const { child, name, output, registry, segments, workers } = yield* drive("spin", { ranks: 2, lease: 3000 }, {
        ranks: 2,
        lease: 60_000
      })
      yield* eventually("rank 0 computes", () => output().includes("spinning"))
      const [keeper, other] = workers.map((pids) =>
        filesIn(registry).map((entry) => records.read(join(registry, entry))!).find(({ members }) => members[0]!.pid === pids[0])!.keeper!
          .pid
      )
      const all = [keeper!, ...workers[0]!]
      child.kill("SIGKILL")
      process.kill(other!, "SIGKILL")
      yield* eventually("the driver is gone", () => child.signalCode !== null)
      const killed = performance.now()
      yield* eventually("the workers of the other keeper are gone", () => !workers[1]!.some(lives), 1000)
      // Whoever sweeps meanwhile leaves alone what has a keeper.
      const looked = Effect.flatMap(Registry.Registry, ({ groups, sweep }) => Effect.all([sweep, groups]))
      const [swept, { groups }] = yield* Effect.provide(looked, Registry.layerWith({ folder: registry }))
      assert.deepStrictEqual(groups.map(({ alive, kept }) => [alive, kept]), [[false, true]])
      assert.deepStrictEqual([swept.map(({ killed }) => killed), all.every(lives)], [[[]], true])
      yield* eventually("all are gone", () => !all.some(lives), 20_000)
      assert.isAbove(performance.now() - killed, 500)
      assert.deepStrictEqual([...processesNaming(name), ...filesIn(registry), ...filesIn(segments)], [])
    }).pipe(Effect.scoped))

  it.live("KE-4: takes its workers along when it is killed, and with them what they had started; supervision goes on with another one, which is lost when it is stopped and leaves its lease unanswered", () =>
    Effect.gen(function*() {
      const { group, keeper, pids, registry } = yield* keep(1, {
        keeper: { lease: "2 seconds" },
        supervision: Supervision.restart({ max: 1, per: "1 minute" })
      })
      const child = yield* group.at(0).call.start({ detached: false })
      process.kill(keeper, "SIGKILL")
      const [died] = yield* Stream.runCollect(Stream.take(group.deaths, 1))
      assert.deepStrictEqual([died!.rank, died!.death, died!.stderr], [0, { _tag: "Killed", signal: "SIGKILL" }, [
        `ended together with its keeper, process ${keeper}`
      ]])
      yield* eventually("they are gone", () => ![...pids, child].some(lives), 1000)
      yield* group.call.print({ stream: "stdout", text: "" })
      const next = keeperOf(registry)
      assert.notStrictEqual(next, keeper)
      const later = group.workers[0]!.pid!
      assert.strictEqual(parentOf(later), next)
      process.kill(next, "SIGSTOP")
      const { death, pid } = yield* Effect.flip(group.failure)
      assert.deepStrictEqual([pid, death], [later, { _tag: "Killed", signal: "SIGKILL" }])
      yield* eventually("both are gone", () => ![next, later].some(lives), 1000)
    }).pipe(Effect.scoped))
})
