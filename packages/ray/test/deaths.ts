import { assert, describe } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Another } from "../../../test/harness/Another.ts"
import { childrenNaming, entry, eventually, lines, lives, Pair, type Paired, type Shared } from "./cluster.ts"
import { Scout } from "./fixtures/scoutProtocol.ts"

type Group = Pair["Service"]["group"]

/** Has every rank print a word and wait for ever; resolves when all have been heard, with the calls. */
const holding = Effect.fnUntraced(function*(group: Group) {
  const word = `word ${performance.now()}`
  const calls = yield* group.fork.hold({ stderr: ["the last", word] })
  const heard = () => lines.filter((line) => line.text === word)
  yield* eventually("every rank is heard", Effect.sync(() => heard().length === group.workers.length))
  return { calls, stderr: ["the last", word] }
})

type Calls = Effect.Success<ReturnType<typeof holding>>["calls"]

/** What a call of a rank fails with when something is killed, and how long that took. */
const killing = Effect.fnUntraced(function*(call: Calls[number], kill: Effect.Effect<unknown>) {
  const began = performance.now()
  yield* kill
  const error = yield* Effect.flip(Fiber.join(call))
  const millis = performance.now() - began
  return error.reason._tag === "WorkerDied" ? { died: error.reason, millis } : yield* Effect.die(error)
})

/** Ranks 0 and 1 get to the given incarnations; the group answers, and of those that died nothing is left. */
const goesOn = Effect.fnUntraced(function*(group: Group, dead: ReadonlyArray<number>, incarnations: readonly [number, number]) {
  yield* eventually("the dead are gone", Effect.sync(() => !dead.some(lives)), 2000)
  const reached = () => group.workers.every(({ incarnation, rank }) => incarnation === incarnations[rank])
  yield* eventually("what died is started again", Effect.sync(reached), 30_000)
  assert.strictEqual((yield* group.call.place()).length, 2)
  const { ask } = yield* Another
  yield* eventually(
    "there are one agent and one placement group",
    Effect.map(ask(), ({ actors, groups }) => actors.length === 1 && groups.length === 1)
  )
})

/** The incarnations after the next death of some ranks. */
const next = (group: Group, ...ranks: ReadonlyArray<number>): [number, number] => {
  const of = (rank: number) => group.workers[rank]!.incarnation + (ranks.includes(rank) ? 1 : 0)
  return [of(0), of(1)]
}

/** Kills what both ranks depend on, and sees what becomes of them; gives what the calls of rank 0 failed with. */
const losing = Effect.fnUntraced(function*(group: Group, kill: Effect.Effect<unknown>) {
  const [dead, incarnations] = [group.workers.map(({ pid }) => pid!), next(group, 0, 1)]
  const { calls } = yield* holding(group)
  const told = yield* killing(calls[0]!, kill)
  assert.strictEqual((yield* killing(calls[1]!, Effect.void)).died.rank, 1)
  yield* goesOn(group, dead, incarnations)
  return told
})

export const deaths = (it: Paired) =>
  describe("a death on Ray is followed by what supervision says", () => {
    it.effect("RY-3: of a worker is told with its signal and last words, and is its rank's alone", () =>
      Effect.gen(function*() {
        const { group } = yield* Pair
        const child = yield* group.at(1).call.start()
        const [pid, incarnations] = [group.workers[1]!.pid!, next(group, 1)]
        const { calls, stderr } = yield* holding(group)
        const { died, millis } = yield* killing(calls[1]!, Effect.sync(() => process.kill(pid, "SIGKILL")))
        assert.deepStrictEqual([died.rank, died.pid, died.death, died.method], [1, pid, { _tag: "Killed", signal: "SIGKILL" }, "hold"])
        assert.deepStrictEqual(died.stderr, stderr)
        assert.isBelow(millis, 1000)
        assert.isUndefined(calls[0]!.pollUnsafe())
        yield* eventually("what it had started is gone", Effect.sync(() => !lives(child)), 1000)
        yield* Fiber.interrupt(calls[0]!)
        yield* goesOn(group, [pid], incarnations)
      }))

    it.effect("RY-3: of an agent is that of all workers that it had started", () =>
      Effect.gen(function*() {
        const { group } = yield* Pair
        const { parent } = yield* group.at(0).call.place()
        const agent = (yield* (yield* Another).ask()).actors.find(({ name }) => name.startsWith(group.name))!
        assert.strictEqual(agent.pid, parent)
        const { died, millis } = yield* losing(group, Effect.sync(() => process.kill(agent.pid, "SIGKILL")))
        assert.strictEqual(died.death._tag, "Disconnected")
        assert.isBelow(millis, 1000)
      }))

    it.effect("RY-3: of a placement group that somebody removes is that of its workers", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const { group } = yield* Pair
        const made = (yield* ask()).groups.find(({ name }) => name === group.name)!
        const { died } = yield* losing(group, ask({ remove: made.id }))
        assert.include(["Disconnected", "Killed"], died.death._tag)
      }))

    it.effect("RY-3: of the bridge is that of all workers, nothing of them is left, and there is another one", () =>
      Effect.gen(function*() {
        const { group } = yield* Pair
        const [bridge] = childrenNaming("bridge.py")
        const { died } = yield* losing(group, Effect.sync(() => process.kill(bridge!, "SIGKILL")))
        assert.match(died.message, /the bridge to Ray is gone: SIGKILL/)
        assert.notInclude(childrenNaming("bridge.py"), bridge!)
      }))

    it.effect("RY-5: a group's end lets workers finish in order and leaves no process, agent or placement group", () =>
      Effect.gen(function*() {
        const { end, group } = yield* Pair
        const [name, workers] = [group.name, group.workers]
        yield* holding(group)
        yield* end
        assert.deepStrictEqual(workers.filter(({ pid }) => lives(pid!)), [])
        const finished = lines.filter((line) => line.group === name && line.text === "finalized")
        assert.deepStrictEqual(finished.map(({ rank }) => rank).toSorted(), [0, 1])
        const known = yield* (yield* Another).ask()
        assert.deepStrictEqual([...known.actors, ...known.groups], [])
      }))
  })

/** A group whose rows have a placement group each. */
class Rows extends Context.Service<Rows, WorkerGroup.WorkerGroup<typeof Scout, "pp" | "tp">>()("@phalanx/ray/test/Rows") {
  static readonly layer = Layer.effect(
    this,
    WorkerGroup.make(Scout, {
      name: "rows",
      mesh: Mesh.make({ pp: 2, tp: 2 }),
      entry,
      capacity: 6,
      supervision: Supervision.shrink({ along: "pp" })
    }).pipe(RayCluster.placed({ rows: "pp", strategy: "strict-pack" }))
  )
}

const rowsOf = Effect.flatMap(
  Another,
  ({ ask }) => Effect.map(ask(), ({ groups }) => groups.map(({ name }) => name.replace(/-[0-9a-f]{8}/, "")).toSorted())
)

export const rows = (it: Shared) =>
  it.layer(Rows.layer, { timeout: 120_000 })("a group in rows on Ray", (it) => {
    it.effect("RY-2: with rows, each coordinate of a dimension has a placement group of its own", () =>
      Effect.gen(function*() {
        const group = yield* Rows
        assert.deepStrictEqual((yield* group.call.environment()).map((env) => env["LOCAL_RANK"]), ["0", "1", "0", "1"])
        assert.deepStrictEqual(yield* rowsOf, ["rows-pp-0", "rows-pp-1"])
        const { groups } = yield* (yield* Another).ask()
        assert.deepStrictEqual(groups.map(({ strategy }) => strategy), ["STRICT_PACK", "STRICT_PACK"])
      }))

    it.effect("RY-5: a row that a group goes on without, or that was not to be, gives its bundles back", () =>
      Effect.gen(function*() {
        const group = yield* Rows
        yield* Effect.scoped(Effect.gen(function*() {
          yield* group.prepare({ to: { pp: 3 } })
          assert.match((yield* rowsOf).join(" "), /^rows-pp-0 rows-pp-1 rows-pp-2-\d+$/)
        }))
        assert.deepStrictEqual(yield* rowsOf, ["rows-pp-0", "rows-pp-1"])
        yield* group.kill(0)
        yield* eventually("one row is left", Effect.map(rowsOf, (names) => names.join() === "rows-pp-1"))
        assert.strictEqual((yield* group.call.place()).length, 2)
      }))
  })
