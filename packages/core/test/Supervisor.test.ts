import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as Supervisor from "@phalanx/core/Supervisor"
import * as Worker from "@phalanx/core/Worker"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

class Pinger extends RpcGroup.make(Rpc.make("ping", { success: Schema.Int })) {}
const pinger = Worker.make(Pinger, Pinger.toLayer({ ping: () => Effect.succeed(1) }))
const group = (supervision?: Supervision.Supervision) =>
  WorkerGroup.make(Pinger, { mesh: Mesh.make({ dp: 1 }), entry: pinger, supervision })

const history = (tree: { readonly events: Stream.Stream<Supervisor.Event> }, count: number) =>
  Effect.map(Stream.runCollect(Stream.take(tree.events, count)), (events) => events.map(({ _tag, child }) => `${_tag} ${child}`))
const started = ["Started a", "Started b", "Started c"]
const children = { a: group(), b: group(), c: group() }

describe("Supervisor", () => {
  for (
    const [scope, after] of [
      ["one", ["Failed b", "Stopped b", "Started b"]],
      ["rest", ["Failed b", "Stopped c", "Stopped b", "Started b", "Started c"]],
      ["all", ["Failed b", "Stopped c", "Stopped b", "Stopped a", "Started a", "Started b", "Started c"]]
    ] as const
  ) {
    it.live(`SV-1: scope ${scope}: a child that fails is started again with those taken along, stopped in reverse order`, () =>
      Effect.gen(function*() {
        const tree = yield* Supervisor.make({ supervision: Supervision.restart({ max: 3, per: "1 minute", scope }), children })
        const first = yield* tree.get("b")
        yield* first.kill(0)
        assert.deepStrictEqual(yield* history(tree, 3 + after.length), [...started, ...after])
        const second = yield* tree.get("b")
        assert.notStrictEqual(second, first)
        assert.deepStrictEqual(yield* second.call.ping(), [1])
        assert.strictEqual((yield* Effect.exit(first.call.ping()))._tag, "Failure")
      }).pipe(Effect.provide(Cluster.layerMemory)))
  }

  it.effect("SV-2: a failure more than the intensity allows is the supervisor's own, once, and whoever waits for a child is told", () =>
    Effect.gen(function*() {
      const tree = yield* Supervisor.make({
        supervision: Supervision.restart({ max: 1, per: "1 minute" }),
        children: { a: group() }
      })
      const kill = Effect.flatMap(tree.get("a"), (group) => group.kill(0))
      yield* kill
      yield* history(tree, 4)
      yield* TestClock.adjust("59 seconds")
      yield* kill
      const failure = yield* Effect.flip(tree.failure)
      assert.strictEqual(failure._tag, "WorkerDied")
      assert.strictEqual(yield* Effect.flip(tree.get("a")), failure)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SV-2: a bug of a child is no error of its type, in the supervisor's failure either", () =>
    Effect.gen(function*() {
      const tree = yield* Supervisor.make({ children: { a: Effect.succeed({ failure: Effect.die("a bug") }) } })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(tree.failure)))
    }))

  it.live("SV-3: trees nest: a supervisor that fails is its parent's failed child", () =>
    Effect.gen(function*() {
      const inner = Supervisor.make({ children: { worker: group() } })
      const tree = yield* Supervisor.make({
        supervision: Supervision.restart({ max: 1, per: "1 minute" }),
        children: { a: group(), inner }
      })
      const worker = yield* Effect.flatMap(tree.get("inner"), (inner) => inner.get("worker"))
      yield* worker.kill(0)
      assert.deepStrictEqual((yield* history(tree, 5)).slice(2), ["Failed inner", "Stopped inner", "Started inner"])
      const next = yield* Effect.flatMap(tree.get("inner"), (inner) => inner.get("worker"))
      assert.deepStrictEqual(yield* next.call.ping(), [1])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("SV-4: the scope's end stops the children in reverse order; a start that fails stops those before it", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const child = (name: string, start: Effect.Effect<void, string> = Effect.void) =>
        Effect.gen(function*() {
          yield* Effect.addFinalizer(() => Effect.sync(() => log.push(`${name} ends`)))
          yield* start
          return { failure: Effect.never }
        })
      const scope = yield* Scope.make()
      const tree = yield* Scope.provide(Supervisor.make({ children: { a: child("a"), b: child("b") } }), scope)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.hasInterrupts(yield* Effect.exit(Effect.timeout(tree.get("a"), "1 second"))))
      assert.deepStrictEqual(log.splice(0), ["b ends", "a ends"])
      const error = yield* Effect.flip(
        Effect.scoped(Supervisor.make({ children: { a: child("a"), b: child("b", Effect.fail("no room")), c: child("c") } }))
      )
      assert.strictEqual(error, "no room")
      assert.deepStrictEqual(log, ["b ends", "a ends"])
    }))
})
