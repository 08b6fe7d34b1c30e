import { assert, describe } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { Another, childrenNaming, entry, eventually, lines, lives, scouts, type Shared } from "./cluster.ts"
import { Scout } from "./fixtures/scoutProtocol.ts"

type Group = Effect.Success<ReturnType<typeof scouts>>

/** Has every rank print a word and wait for ever; resolves when all have been heard, with the calls and the group's name. */
const holding = Effect.fnUntraced(function*(group: Group) {
  const word = `word ${performance.now()}`
  const calls = yield* group.fork.hold({ stderr: ["the last", word] })
  const heard = () => lines.filter((line) => line.text === word)
  yield* eventually("every rank is heard", Effect.sync(() => heard().length === group.workers.length))
  return { calls, name: heard()[0]!.group, stderr: ["the last", word] }
})

/** What a call of a rank fails with when something is killed, and how long that took. */
const killing = Effect.fnUntraced(
  function*(call: Effect.Success<ReturnType<typeof holding>>["calls"][number], kill: Effect.Effect<unknown>) {
    const began = performance.now()
    yield* kill
    const error = yield* Effect.flip(Fiber.join(call))
    const millis = performance.now() - began
    return error.reason._tag === "WorkerDied" ? { died: error.reason, millis } : yield* Effect.die(error)
  }
)

const nothingLeft = Effect.gen(function*() {
  const { ask } = yield* Another
  yield* eventually(
    "no actor and no placement group is left",
    Effect.map(ask(), (known) => known.actors.length + known.groups.length === 0)
  )
})

export const deaths = (it: Shared) =>
  describe("a death on Ray", () => {
    it.effect("RY-3: of a worker is told with its signal and last words, and is its rank's alone", () =>
      Effect.gen(function*() {
        const group = yield* scouts(2)
        const child = yield* group.at(1).call.start()
        const pid = group.workers[1]!.pid!
        const { calls, stderr } = yield* holding(group)
        const { died, millis } = yield* killing(calls[1]!, Effect.sync(() => process.kill(pid, "SIGKILL")))
        assert.deepStrictEqual([died.rank, died.pid, died.death, died.method], [1, pid, { _tag: "Killed", signal: "SIGKILL" }, "hold"])
        assert.deepStrictEqual(died.stderr, stderr)
        assert.isBelow(millis, 1000)
        assert.isUndefined(calls[0]!.pollUnsafe())
        yield* eventually("what it had started is gone", Effect.sync(() => !lives(child)), 1000)
      }))

    it.effect("RY-3: of an agent is that of all workers that it had started", () =>
      Effect.gen(function*() {
        const group = yield* scouts(2)
        const { parent } = yield* group.at(0).call.place()
        const { calls, name } = yield* holding(group)
        const agent = (yield* (yield* Another).ask()).actors.find((actor) => actor.name.startsWith(name))!
        assert.strictEqual(agent.pid, parent)
        const { died, millis } = yield* killing(calls[0]!, Effect.sync(() => process.kill(agent.pid, "SIGKILL")))
        assert.strictEqual(died.death._tag, "Disconnected")
        assert.isBelow(millis, 1000)
        assert.strictEqual((yield* Stream.runCollect(Stream.take(group.deaths, 2))).length, 2)
        yield* eventually("its workers are gone", Effect.sync(() => !group.workers.some(({ pid }) => lives(pid!))), 1000)
      }))

    it.effect("RY-3: of a placement group that somebody removes is that of its workers", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const group = yield* scouts(1)
        const { calls, name } = yield* holding(group)
        const made = (yield* ask()).groups.find((made) => made.name === name)!
        const { died } = yield* killing(calls[0]!, ask({ remove: made.id }))
        assert.include(["Disconnected", "Killed"], died.death._tag)
        yield* eventually("its workers are gone", Effect.sync(() => !lives(group.workers[0]!.pid!)), 1000)
      }))

    it.effect("RY-3: of the bridge is that of all workers, nothing of them is left, and the next group has a new one", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const group = yield* Scope.provide(scouts(2), scope)
        const [bridge] = childrenNaming("bridge.py")
        const { calls } = yield* holding(group)
        const { died } = yield* killing(calls[0]!, Effect.sync(() => process.kill(bridge!, "SIGKILL")))
        assert.match(died.message, /the bridge to Ray is gone: SIGKILL/)
        yield* eventually("its workers are gone", Effect.sync(() => !group.workers.some(({ pid }) => lives(pid!))), 2000)
        yield* Scope.close(scope, Exit.void)
        yield* nothingLeft
        assert.strictEqual((yield* Effect.scoped(Effect.flatMap(scouts(2), (group) => group.call.place()))).length, 2)
        assert.notInclude(childrenNaming("bridge.py"), bridge!)
      }))

    it.effect("RY-3: of a worker, an agent, the placement group or the bridge is followed by what supervision says", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const group = yield* WorkerGroup.make(Scout, {
          name: "scouts",
          mesh: Mesh.make({ rank: 2 }),
          entry,
          supervision: Supervision.restart({ max: 20, per: "1 minute", backoff: "10 millis" })
        })
        const incarnations = Effect.map(
          SubscriptionRef.get(group.membership),
          ({ members }) => members.map(({ incarnation }) => incarnation)
        )
        const known = () =>
          Effect.map(ask(), ({ actors, groups }) => ({ agent: actors.find(({ pid }) => pid > 0)!.pid, made: groups[0]!.id }))
        const kills: ReadonlyArray<readonly [affected: number, kill: Effect.Effect<unknown>]> = [
          [1, group.kill(1)],
          [2, Effect.map(known(), ({ agent }) => process.kill(agent, "SIGKILL"))],
          [2, Effect.flatMap(known(), ({ made }) => ask({ remove: made }))],
          [2, Effect.sync(() => process.kill(childrenNaming("bridge.py")[0]!, "SIGKILL"))]
        ]
        for (const [affected, kill] of kills) {
          const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((a, b) => a + b, 0)
          const before = sum(yield* incarnations)
          yield* kill
          yield* eventually("what died is started again", Effect.map(incarnations, (now) => sum(now) >= before + affected), 30_000)
          assert.strictEqual((yield* group.call.place()).length, 2)
        }
        const { actors, groups } = yield* ask()
        assert.deepStrictEqual([actors.length, groups.length], [1, 1])
      }))

    it.effect("RY-5: a row that a group goes on without, or that was not to be, gives its bundles back", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const group = yield* WorkerGroup.make(Scout, {
          name: "rows",
          mesh: Mesh.make({ dp: 2, tp: 2 }),
          entry,
          capacity: 6,
          supervision: Supervision.shrink({ along: "dp" })
        }).pipe(RayCluster.placed({ rows: "dp" }))
        const names = Effect.map(ask(), ({ groups }) => groups.map(({ name }) => name.replace(/-[0-9a-f]{8}/, "")))
        assert.deepStrictEqual((yield* names).toSorted(), ["rows-dp-0", "rows-dp-1"])
        yield* Effect.scoped(Effect.gen(function*() {
          yield* group.prepare({ to: { dp: 3 } })
          assert.match((yield* names).toSorted().join(" "), /^rows-dp-0 rows-dp-1 rows-dp-2-\d+$/)
        }))
        assert.deepStrictEqual((yield* names).toSorted(), ["rows-dp-0", "rows-dp-1"])
        yield* group.kill(0)
        yield* eventually("one row is left", Effect.map(names, (names) => names.join() === "rows-dp-1"))
        assert.strictEqual((yield* group.call.place()).length, 2)
      }))

    it.effect("RY-5: a group's end lets workers finish in order and leaves no process, agent or placement group", () =>
      Effect.gen(function*() {
        const { name, workers } = yield* Effect.scoped(Effect.gen(function*() {
          const group = yield* scouts(3)
          return { workers: group.workers, name: (yield* holding(group)).name }
        }))
        assert.deepStrictEqual(workers.filter(({ pid }) => lives(pid!)), [])
        const finished = lines.filter((line) => line.group === name && line.text === "finalized")
        assert.deepStrictEqual(finished.map(({ rank }) => rank).toSorted(), [0, 1, 2])
        const known = yield* (yield* Another).ask()
        assert.deepStrictEqual([...known.actors, ...known.groups], [])
      }))
  })
