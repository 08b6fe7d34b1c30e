import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Contract from "@phalanx/core/Contract"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type { Group } from "../src/internal/contractGroup.ts"
import { restoring, Shared } from "../src/internal/contractGroup.ts"

describe("the contract, in memory", () => {
  for (const { name, run } of Contract.cases) it.live(name, () => Effect.provide(run, Cluster.layerMemory))
})

/** Counts the workers that are started. */
const counted = Effect.gen(function*() {
  const started = { workers: 0 }
  const { spawn } = yield* Cluster.Cluster
  const counting = Layer.succeed(Cluster.Cluster, {
    spawn: (options) => {
      started.workers++
      return spawn(options)
    }
  })
  return { started, shared: yield* Layer.build(Layer.provide(Contract.layerShared, counting)), counting }
})

describe("cases of the contract that share a group", () => {
  it.live("hold as they do alone, with one group for all", () =>
    Effect.gen(function*() {
      const { counting, shared, started } = yield* counted
      for (const { run } of Contract.cases) yield* Effect.provide(run, counting).pipe(Effect.provideContext(shared))
      // Four, of whom two leave, and the two that join.
      assert.strictEqual(started.workers, 4 + 2)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("do not hand on what a failed one has left, and fail if they leave a rank dead", () =>
    Effect.gen(function*() {
      const { shared, started } = yield* counted
      const lend = (body: (group: Group) => Effect.Effect<void, unknown>) =>
        Effect.exit(Effect.flatMap(Shared, (_) => _.lend(body, restoring))).pipe(Effect.provideContext(shared))
      assert.isTrue(Exit.isSuccess(yield* lend((group) => Effect.asVoid(group.call.add({ n: 5 })))))
      assert.isTrue(Exit.isFailure(yield* lend((group) => Effect.andThen(group.call.add({ n: 5 }), Effect.fail("no")))))
      assert.isTrue(Exit.isFailure(yield* lend((group) => group.kill(2))))
      assert.isTrue(
        Exit.isSuccess(yield* lend((group) => Effect.map(group.call.add({ n: 1 }), (all) => assert.deepStrictEqual(all, [0, 1, 2, 3]))))
      )
      assert.strictEqual(started.workers, 3 * 4)
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
