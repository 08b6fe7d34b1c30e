import { assert, describe } from "@effect/vitest"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Another } from "../../../test/harness/Another.ts"
import { head } from "../../../test/harness/ray.ts"
import { eventually, Pair, type Paired, scouts, shaped, type Shared } from "./cluster.ts"
import type { Scout } from "./fixtures/scoutProtocol.ts"
import { isAll } from "./transports.ts"

type Group = WorkerGroup.WorkerGroup<typeof Scout, any>

/** Who started each rank, and what it finds in its environment under some names. */
const seen = Effect.fnUntraced(function*(group: Group, ...names: ReadonlyArray<string>) {
  const environments = yield* group.call.environment()
  const parents = (yield* group.call.place()).map(({ parent }) => parent)
  return { parents, of: environments.map((env) => names.map((name) => env[name])) }
})

/** Every rank of it is there and answers, and nothing is told. */
const isWhole = Effect.fnUntraced(function*(group: Group, ranks: number) {
  assert.deepStrictEqual(group.workers.map(({ rank }) => rank), Array.from({ length: ranks }, (_, rank) => rank))
  assert.isTrue((yield* group.exits.place()).every(Exit.isSuccess))
  assert.isUndefined((yield* Effect.forkChild(group.failure)).pollUnsafe())
})

/** How many of the node's seats are taken, which nobody but these tests asks for. */
const used = Effect.gen(function*() {
  const [node] = yield* (yield* RayCluster.Ray).nodes
  return node!.total["seat"]! - (node!.free["seat"] ?? 0)
})

/** Takes 40 of the 64 seats with another's placement group. */
const takingSeats = Effect.gen(function*() {
  yield* eventually("no seat is taken", Effect.map(used, (seats) => seats === 0))
  const { groups } = yield* (yield* Another).ask({ make: [{ seat: 40 }], name: "mine" })
  return groups.find(({ name }) => name === "mine")!.id
})

const failure = (placing: RayCluster.Placing, ranks = 2) =>
  Effect.scoped(scouts(ranks, placing)).pipe(
    Effect.flip,
    Effect.map((error) => error._tag === "SpawnError" ? error : assert.fail(String(error)))
  )

export const placementOfOne = (it: Paired) =>
  describe("the place of a group on Ray", () => {
    it.effect("RY-2: all ranks of a cluster of one node sit on the driver's, started by one agent, and know their local rank", () =>
      Effect.gen(function*() {
        const [node] = yield* (yield* RayCluster.Ray).nodes
        const { group } = yield* Pair
        assert.isTrue(node!.driver)
        assert.deepStrictEqual(group.workers.map((worker) => worker.node), [node!.address, node!.address])
        const { of, parents } = yield* seen(group, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        assert.deepStrictEqual(of, [["0", "2"], ["1", "2"]])
        assert.strictEqual(new Set(parents).size, 1)
        const places = yield* group.call.place()
        assert.isTrue(places.every((place) => place.node === node!.address && place.cwd === process.cwd()))
        assert.strictEqual(yield* used, 2)
      }))

    it.effect("RY-7: workers have their host's environment without anything of Ray's, and what is added or carried to it", () =>
      Effect.gen(function*() {
        const [env] = yield* (yield* Pair).group.call.environment()
        const { token } = yield* head
        assert.deepStrictEqual(Object.keys(env!).filter((name) => name.startsWith("RAY_")), [])
        assert.isFalse(Object.values(env!).some((value) => value.includes(token)))
        assert.deepStrictEqual(["ADDED", "CARRIED", "NOTHING"].map((name) => env![`PHALANX_TEST_${name}`]), ["added", "carried", undefined])
        // That of the node, which was started with the interpreter's folder in front.
        assert.isDefined(env!["PATH"])
      }))
  })

export const placement = (it: Shared) =>
  describe("placement on Ray", () => {
    it.effect("RY-2: ranks that ask for devices have an agent and devices each", () =>
      Effect.gen(function*() {
        const { of, parents } = yield* seen(yield* scouts(2, { resources: { CPU: 1, GPU: 1 } }), "CUDA_VISIBLE_DEVICES", "LOCAL_RANK")
        assert.strictEqual(new Set(parents).size, 2)
        assert.deepStrictEqual(of.map(([devices]) => devices).toSorted(), ["0", "1"])
        assert.deepStrictEqual(of.map(([, rank]) => rank), ["0", "1"])
      }))

    it.effect("RY-2: two groups side by side in one placement group take the bundles that are named, and leave it as it was", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const made = yield* ask({ make: [{ CPU: 1 }, { CPU: 1, NPU: 0 }, ...Array.from({ length: 4 }, () => ({ CPU: 1 }))], name: "mine" })
        const mine = made.groups.find(({ name }) => name === "mine")!
        yield* Effect.scoped(Effect.gen(function*() {
          const [one, two] = yield* Effect.all([
            shaped(4, 1, { placementGroup: { name: "mine" }, bundles: [2, 1, 5, 4] }),
            shaped(1, 1, { placementGroup: { id: mine.id }, bundles: [3] })
          ], { concurrency: 2 })
          yield* isWhole(one, 4)
          yield* isWhole(two, 1)
          for (
            const [placing, message] of [
              [{ placementGroup: { name: "mine" }, bundles: [1, 1] }, /bundle 1 is named twice in 1, 1/],
              [{ placementGroup: { name: "mine" }, bundles: [0, 1, 2] }, /3 bundles are named \(0, 1, 2\) for 2 ranks/],
              [{ placementGroup: { name: "mine" }, resources: { CPU: 2 } }, /0 of 6 bundles hold what a worker asks for \(CPU 2\)/],
              [{ placementGroup: { name: "nobody's" } }, /nobody's/]
            ] as const
          ) assert.match((yield* failure(placing)).message, message)
        }))
        const after = yield* ask()
        assert.deepStrictEqual([after.groups.map(({ id }) => id), after.actors], [[mine.id], []])
        yield* ask({ remove: mine.id })
      }))

    // One way of each is among the other tests.
    it.effect.skipIf(!isAll)(
      "RY-2: meshes of (tp, pp) 1 1, 2 1, 4 1 and 2 2 start, with a placement group that is given and without, every rank in a bundle",
      () =>
        Effect.gen(function*() {
          const { ask } = yield* Another
          const made = yield* ask({ make: Array.from({ length: 4 }, () => ({ CPU: 1 })), name: "mine" })
          const { id } = made.groups.find(({ name }) => name === "mine")!
          for (const [tp, pp] of [[1, 1], [2, 1], [4, 1], [2, 2]] as const) {
            // A group of fewer ranks than bundles takes the first ones, and nothing waits for the others.
            for (const placementGroup of [undefined, { id }]) {
              yield* Effect.scoped(Effect.flatMap(shaped(tp, pp, { placementGroup }), (group) => isWhole(group, tp * pp)))
            }
          }
          yield* ask({ remove: id })
        }),
      120_000
    )

    it.effect("RY-4: too few resources are an error within 5 seconds that says what was asked and what every node has free", () =>
      Effect.gen(function*() {
        const taken = yield* takingSeats
        for (
          const [placing, words] of [
            [
              { resources: { seat: 100 } },
              /pack of 2 × \{seat 100\} does not fit: node \w+ \(127\.\S+, the driver's\) has seat 24 of 64 free/
            ],
            [
              { resources: { seat: 13 }, strategy: "strict-pack" },
              /strict-pack of 2 × \{seat 13\} does not fit: .* has seat 24 of 64 free/
            ],
            [{ resources: { TPU: 1 } }, /pack of 2 × \{TPU 1\} does not fit: .* has TPU 0 of 0 free/],
            [{ strategy: "strict-spread" }, /strict-spread of 2 × \{CPU 1\} does not fit/],
            [{ nodes: ["10.9.8.7"], wait: 0 }, /pack of 2 × \{CPU 1\} does not fit: there is no node/]
          ] as const
        ) {
          const began = performance.now()
          const error = yield* failure(placing)
          assert.isBelow(performance.now() - began, 5000)
          assert.match(error.message, words)
          assert.match(error.message, /give `wait` the time until there is room/)
        }
        const { ask } = yield* Another
        assert.strictEqual((yield* ask()).groups.length, 1)
        yield* ask({ remove: taken })
      }))

    it.effect("RY-4: with wait, a group waits and starts when there is room, and one that is given up leaves nothing waiting", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const taken = yield* takingSeats
        const waits = (seats: number) =>
          Effect.forkChild(
            Effect.scoped(Effect.flatMap(scouts(1, { resources: { seat: seats }, wait: "Infinity" }), (group) => group.call.place()))
          )
        const [first, second] = [yield* waits(41), yield* waits(42)]
        yield* eventually("two placement groups wait", Effect.map(ask(), ({ groups }) => groups.length === 3))
        yield* Fiber.interrupt(first)
        assert.strictEqual((yield* ask()).groups.length, 2)
        assert.isUndefined(second.pollUnsafe())
        yield* ask({ remove: taken })
        assert.strictEqual((yield* Fiber.join(second)).length, 1)
        yield* eventually("no placement group is left", Effect.map(ask(), ({ groups }) => groups.length === 0))
      }))
  })
