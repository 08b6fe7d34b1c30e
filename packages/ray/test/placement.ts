import { assert, describe } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { fileURLToPath } from "node:url"
import { environment, head } from "../../../test/harness/ray.ts"
import { Another, cluster, entry, eventually, scouts, type Shared } from "./cluster.ts"
import { Scout } from "./fixtures/scoutProtocol.ts"

type Group = WorkerGroup.WorkerGroup<typeof Scout, any>

/** Who started each rank, and what it finds in its environment under some names. */
const seen = Effect.fnUntraced(function*(group: Group, ...names: ReadonlyArray<string>) {
  const environments = yield* group.call.environment()
  const parents = (yield* group.call.place()).map(({ parent }) => parent)
  return { parents, of: environments.map((env) => names.map((name) => env[name])) }
})

const used = (name: string) =>
  Effect.gen(function*() {
    const [node] = yield* (yield* RayCluster.Ray).nodes
    return node!.total[name]! - (node!.free[name] ?? 0)
  })

const failure = (placing: RayCluster.Placing, ranks = 2) =>
  Effect.scoped(scouts(ranks, placing)).pipe(
    Effect.flip,
    Effect.map((error) => error._tag === "SpawnError" ? error : assert.fail(String(error)))
  )

export const placement = (it: Shared) =>
  describe("placement on Ray", () => {
    it.effect("RY-2: all ranks of a cluster of one node sit on the driver's, started by one agent, and know their local rank", () =>
      Effect.gen(function*() {
        const [node] = yield* (yield* RayCluster.Ray).nodes
        const group = yield* scouts(3)
        assert.isTrue(node!.driver)
        assert.deepStrictEqual(group.workers.map((worker) => worker.node), [node!.address, node!.address, node!.address])
        const { of, parents } = yield* seen(group, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        assert.deepStrictEqual(of, [["0", "3"], ["1", "3"], ["2", "3"]])
        assert.strictEqual(new Set(parents).size, 1)
        const places = yield* group.call.place()
        assert.isTrue(places.every((place) => place.node === node!.address && place.cwd === process.cwd()))
        assert.strictEqual(yield* used("CPU"), 3)
      }))

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
        const made = yield* ask({ make: [{ CPU: 1 }, { CPU: 1, NPU: 0 }, { CPU: 1 }, { CPU: 1 }], name: "mine" })
        const mine = made.groups.find(({ name }) => name === "mine")!
        yield* Effect.scoped(Effect.gen(function*() {
          const [one, two] = yield* Effect.all([
            scouts(2, { placementGroup: { name: "mine" }, bundles: [2, 1] }),
            scouts(2, { placementGroup: { id: mine.id }, bundles: [0, 3] })
          ], { concurrency: 2 })
          assert.deepStrictEqual((yield* Effect.all([seen(one), seen(two)])).map(({ parents }) => parents.length), [2, 2])
          // A group of fewer ranks than bundles takes the first ones, and nothing waits for the others.
          assert.strictEqual((yield* (yield* scouts(1, { placementGroup: { name: "mine" } })).call.place()).length, 1)
          for (
            const [placing, message] of [
              [{ placementGroup: { name: "mine" }, bundles: [1, 1] }, /bundle 1 is named twice in 1, 1/],
              [{ placementGroup: { name: "mine" }, bundles: [0, 1, 2] }, /3 bundles are named \(0, 1, 2\) for 2 ranks/],
              [{ placementGroup: { name: "mine" }, resources: { CPU: 2 } }, /0 of 4 bundles hold what a worker asks for \(CPU 2\)/],
              [{ placementGroup: { name: "nobody's" } }, /nobody's/]
            ] as const
          ) assert.match((yield* failure(placing)).message, message)
        }))
        const after = yield* ask()
        assert.deepStrictEqual([after.groups.map(({ id }) => id), after.actors], [[mine.id], []])
        yield* ask({ remove: mine.id })
      }))

    it.effect(
      "RY-2: meshes of (tp, pp) 1 1, 2 1, 4 1 and 2 2 start, with a placement group that is given and without, every rank in a bundle",
      () =>
        Effect.gen(function*() {
          const { ask } = yield* Another
          const made = yield* ask({ make: Array.from({ length: 4 }, () => ({ CPU: 1 })), name: "mine" })
          const { id } = made.groups.find(({ name }) => name === "mine")!
          const cases = [[1, 1], [2, 1], [4, 1], [2, 2], [2, 1, { id }], [4, 1, { id }], [2, 2, { id }]] as const
          for (const [tp, pp, placementGroup] of cases) {
            yield* Effect.scoped(Effect.gen(function*() {
              const group = yield* WorkerGroup.make(Scout, { name: "scouts", mesh: Mesh.make({ pp, tp }), entry }).pipe(
                RayCluster.placed({ placementGroup })
              )
              assert.deepStrictEqual(group.workers.map(({ rank }) => rank), Array.from({ length: tp * pp }, (_, rank) => rank))
              assert.isTrue((yield* group.exits.place()).every(Exit.isSuccess))
              assert.isUndefined((yield* Effect.forkChild(group.failure)).pollUnsafe())
            }))
          }
          yield* ask({ remove: id })
        }),
      120_000
    )

    it.effect("RY-2: a driver that an actor of Ray runs takes the actor's placement group", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const made = yield* ask({ make: Array.from({ length: 5 }, () => ({ CPU: 1 })), name: "mine" })
        const { driven, groups } = yield* ask({
          drive: [process.execPath, fileURLToPath(new URL("../../../examples/ray/main.ts", import.meta.url))],
          env: yield* environment,
          name: "mine"
        })
        assert.match(driven!.join("\n"), /^0\n\[ 0, 1, 22, 33 \]\nRay .*\n\n$/)
        assert.deepStrictEqual(groups.map(({ id }) => id), made.groups.map(({ id }) => id))
        yield* ask({ remove: groups[0]!.id })
      }))

    it.effect("RY-7: workers have their host's environment without anything of Ray's, and what is added or carried to it", () =>
      Effect.gen(function*() {
        process.env["PHALANX_TEST_CARRIED"] = "carried"
        const [env] = yield* Effect.scoped(Effect.flatMap(scouts(1), (group) => group.call.environment())).pipe(
          Effect.provide(
            cluster({ env: { PHALANX_TEST_ADDED: "added" }, carry: ["PHALANX_TEST_CARRIED", "PATH", "PHALANX_TEST_NOTHING"] })
          ),
          Effect.ensuring(Effect.sync(() => delete process.env["PHALANX_TEST_CARRIED"]))
        )
        const { token } = yield* head
        assert.deepStrictEqual(Object.keys(env!).filter((name) => name.startsWith("RAY_")), [])
        assert.isFalse(Object.values(env!).some((value) => value.includes(token)))
        assert.deepStrictEqual([env!["PHALANX_TEST_ADDED"], env!["PHALANX_TEST_CARRIED"], env!["PHALANX_TEST_NOTHING"]], [
          "added",
          "carried",
          undefined
        ])
        // That of the node, which was started with the interpreter's folder in front.
        assert.isDefined(env!["PATH"])
      }))

    it.effect("RY-2: with rows, each coordinate of a dimension has a placement group of its own", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const group = yield* WorkerGroup.make(Scout, { name: "rows", mesh: Mesh.make({ dp: 2, tp: 2 }), entry }).pipe(
          RayCluster.placed({ rows: "dp", strategy: "strict-pack" })
        )
        const { of } = yield* seen(group, "LOCAL_RANK")
        assert.deepStrictEqual(of.flat(), ["0", "1", "0", "1"])
        const { groups } = yield* ask()
        assert.deepStrictEqual(groups.map(({ name }) => name.replace(/-[0-9a-f]{8}/, "")).toSorted(), ["rows-dp-0", "rows-dp-1"])
        assert.deepStrictEqual(groups.map(({ strategy }) => strategy), ["STRICT_PACK", "STRICT_PACK"])
      }))

    it.effect("RY-4: too few resources are an error within 5 seconds that says what was asked and what every node has free", () =>
      Effect.gen(function*() {
        yield* scouts(1, { resources: { CPU: 40 } })
        for (
          const [placing, words] of [
            [
              { resources: { CPU: 100 } },
              /pack of 2 × \{CPU 100\} does not fit: node \w+ \(127\.\S+, the driver's\) has CPU 24 of 64 free/
            ],
            [{ resources: { CPU: 13 }, strategy: "strict-pack" }, /strict-pack of 2 × \{CPU 13\} does not fit: .* has CPU 24 of 64 free/],
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
        assert.strictEqual((yield* (yield* Another).ask()).groups.length, 1)
      }))

    it.effect("RY-4: with wait, a group waits and starts when there is room, and one that is given up leaves nothing waiting", () =>
      Effect.gen(function*() {
        const { ask } = yield* Another
        const second = yield* Effect.scoped(Effect.gen(function*() {
          yield* scouts(1, { resources: { CPU: 40 } })
          const waits = (cpus: number) =>
            Effect.forkDetach(
              Effect.scoped(Effect.flatMap(scouts(1, { resources: { CPU: cpus }, wait: "Infinity" }), (group) => group.call.place()))
            )
          const [first, second] = [yield* waits(41), yield* waits(42)]
          yield* eventually("two placement groups wait", Effect.map(ask(), ({ groups }) => groups.length === 3))
          yield* Fiber.interrupt(first)
          assert.strictEqual((yield* ask()).groups.length, 2)
          assert.isUndefined(second.pollUnsafe())
          return second
        }))
        assert.strictEqual((yield* Fiber.join(second)).length, 1)
        yield* eventually("no placement group is left", Effect.map(ask(), ({ groups }) => groups.length === 0))
      }))
  })
