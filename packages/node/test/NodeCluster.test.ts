import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import { Hello } from "./fixtures/helloProtocol.ts"
import { start } from "./fixtures/start.ts"
import { argv, environment, eventually, filesIn, folder, lives, stat } from "./fixtures/system.ts"

const hello = (entry: string, ranks = 2) =>
  WorkerGroup.make(Hello, { mesh: Mesh.make({ rank: ranks }), entry: new URL(entry, import.meta.url), name: "hello" })

describe("NodeCluster", () => {
  it.live("runs a worker's module as in memory, each rank in a process that has group and rank in its command line, and the group's secret neither there nor in its environment", () =>
    Effect.gen(function*() {
      const inMemory = Effect.scoped(Effect.flatMap(hello("./fixtures/hello.ts"), (group) => group.call.hello({ n: 1 })))
      assert.deepStrictEqual(yield* Effect.provide(inMemory, Cluster.layerMemory), [2, 2])
      const cluster = yield* Cluster.Cluster
      const secrets: Array<string> = []
      const group = yield* Effect.provideService(hello("./fixtures/hello.ts"), Cluster.Cluster, {
        spawn: (options) => {
          secrets.push(options.identity.secret)
          return cluster.spawn(options)
        }
      })
      assert.deepStrictEqual(yield* group.call.hello({ n: 1 }), [2, 2])
      for (const { pid, rank } of group.workers) {
        assert.match(argv(pid!), new RegExp(`^phalanx hello-[0-9a-f]{8} rank ${rank}`))
        assert.isTrue(secrets.length === 2 && secrets.every((secret) => secret.length >= 16))
        for (const secret of secrets) assert.notInclude(argv(pid!) + environment(pid!), secret)
      }
    }).pipe(Effect.scoped, Effect.provide(NodeCluster.layer)))

  it.live("runs a module of plain JavaScript", () =>
    Effect.gen(function*() {
      const group = yield* hello("./fixtures/plain.js", 1)
      assert.deepStrictEqual(yield* group.call.hello({ n: 1 }), [3])
    }).pipe(Effect.scoped, Effect.provide(NodeCluster.layer)))

  it.live("gives workers this environment and more, and options of Node, and keeps its segments in the folder given", () =>
    Effect.gen(function*() {
      const path = yield* folder
      yield* Effect.scoped(Effect.gen(function*() {
        const { pids } = yield* start(1, { folder: path, env: { PHALANX_TEST_WORD: "here" }, execArgv: ["--stack-trace-limit=7"] })
        assert.include(environment(pids[0]!), "PHALANX_TEST_WORD=here")
        assert.include(environment(pids[0]!), `PATH=${process.env["PATH"]}`)
        assert.match(environment(pids[0]!), /(?:^|\0)PHALANX_GROUP=group-[0-9a-f]{8}(?:\0|$)/)
        assert.isNotEmpty(filesIn(path))
      }))
      assert.deepStrictEqual(filesIn(path), [])
    }).pipe(Effect.scoped))

  it.live("CO-10: a scope's end lets workers finish in order, in a session of their own, and takes along what they have started", () =>
    Effect.gen(function*() {
      const { child, lines, pids } = yield* Effect.scoped(Effect.gen(function*() {
        const { group, lines, pids } = yield* start(2)
        // Ctrl-C in a terminal signals the driver's process group and none of these.
        for (const pid of pids) assert.deepStrictEqual(stat(pid).slice(2, 4), [String(pid), String(pid)])
        yield* group.at(0).call.print({ stream: "stdout", text: "one\ntwo — " })
        yield* group.at(0).call.print({ stream: "stdout", text: "and a half\nthree" })
        yield* group.at(1).call.print({ stream: "stderr", text: "four\n" })
        return { lines, pids, child: yield* group.at(1).call.start({ detached: false }) }
      }))
      const of = (rank: number, stream: string) =>
        lines.filter((line) => line.rank === rank && line.stream === stream).map(({ text }) => text)
      // What they print is handed on line by line, with its rank and stream, up to the last one.
      assert.deepStrictEqual(of(0, "stdout"), ["one", "two — and a half", "threefinalized"])
      assert.deepStrictEqual([of(1, "stdout"), of(1, "stderr")], [["finalized"], ["four"]])
      assert.match(lines[0]!.group, /^group-[0-9a-f]{8}$/)
      for (const pid of pids) assert.isFalse(lives(pid))
      yield* eventually("the worker's child is gone", () => !lives(child), 1000)
    }))

  it.live("CO-10: what does not end in order is killed after the grace, all ranks at once, a stopped process too", () =>
    Effect.gen(function*() {
      const { pids, stopped } = yield* Effect.scoped(Effect.gen(function*() {
        const { pids } = yield* start(2, { env: { ODD_STUBBORN: "yes" }, grace: "1 second" })
        process.kill(pids[1]!, "SIGSTOP")
        yield* eventually("rank 1 has stopped", () => stat(pids[1]!)[0] === "T")
        return { pids, stopped: performance.now() }
      }))
      assert.isBelow(performance.now() - stopped, 2 * 1000)
      for (const pid of pids) assert.isFalse(lives(pid))
    }))
})
