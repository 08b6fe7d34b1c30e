import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import hello from "./fixtures/hello.ts"
import { Hello } from "./fixtures/helloProtocol.ts"
import { filesIn, folder, processesNaming, uniqueName } from "./fixtures/system.ts"

/** The error that a group starts with; nothing of the group is left by then. */
const failing = (
  entry: string | typeof hello,
  options: NodeCluster.Options & { readonly readyWithin?: string; readonly ranks?: number } = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const path = yield* folder
    const name = uniqueName()
    const error = yield* WorkerGroup.make(Hello, {
      mesh: Mesh.make({ rank: options.ranks ?? 1 }),
      entry: typeof entry === "string" ? new URL(entry, import.meta.url) : entry,
      name,
      ...(options.readyWithin === undefined ? {} : { readyWithin: "300 millis" })
    }).pipe(Effect.provide(NodeCluster.layerWith({ output: "ignore", folder: path, ...options })), Effect.scoped, Effect.flip)
    assert.deepStrictEqual(processesNaming(name), [])
    assert.deepStrictEqual(filesIn(path), [])
    if (error._tag !== "SpawnError") return yield* Effect.die(error)
    return error
  }))

describe("a worker that cannot be started is an error that says why, and leaves nothing", () => {
  it.live("CO-10: its module does not exist", () =>
    Effect.gen(function*() {
      const error = yield* failing("./fixtures/nowhere.ts")
      assert.match(
        error.message,
        /^rank 0 on \S+ failed in import of file:.*\/fixtures\/nowhere\.ts: there is no such file\. new URL\("\.\/worker\.ts", import\.meta\.url\) is relative/
      )
    }))

  it.live("CO-10: its module throws while it is imported", () =>
    Effect.gen(function*() {
      const error = yield* failing("./fixtures/broken/throws.ts")
      assert.strictEqual(error.phase, "import")
      assert.match(
        error.message,
        /the weights are missing \(file:.*\/broken\/throws\.ts:1:7\)\. The entry must be a module that Node can import/
      )
    }))

  it.live("CO-10: its module exports something else", () =>
    Effect.gen(function*() {
      const error = yield* failing("./fixtures/broken/notAWorker.ts")
      assert.strictEqual(error.phase, "import")
      assert.match(error.message, /its default export is not a Worker\. .* whose default export is Worker\.make\(…\)/)
    }))

  it.live("CO-10: its layer fails", () =>
    Effect.gen(function*() {
      const error = yield* failing("./fixtures/broken/setupFails.ts", { ranks: 2 })
      assert.strictEqual(error.phase, "setup")
      assert.match(error.message, /there is no device 3 \(file:.*\/broken\/setupFails\.ts:\d+:\d+\)\. Mend the worker's layer/)
    }))

  it.live("CO-10: it is never ready", () =>
    Effect.gen(function*() {
      const error = yield* failing("./fixtures/broken/neverReady.ts", { readyWithin: "300 millis" })
      assert.strictEqual(error.phase, "ready")
      assert.match(error.message, /it was not ready within 300ms\. Mend what its layer waits for, or raise the group's readyWithin/)
    }))

  it.live("CO-10: it ends while it starts", () =>
    Effect.gen(function*() {
      const error = yield* failing("./fixtures/broken/exits.ts")
      assert.strictEqual(error.phase, "start")
      assert.match(error.message, /it ended before it was ready: exit code 7\. .*\n {2}this is not my machine$/s)
    }))

  it.live("CO-10: the Node to run it is missing", () =>
    Effect.gen(function*() {
      const error = yield* failing("./fixtures/hello.ts", { node: "/nowhere/node" })
      assert.strictEqual(error.phase, "start")
      assert.match(error.message, /\/nowhere\/node could not be started: .*ENOENT\. The option `node` names the binary of Node 26 or newer/)
    }))

  it.live("CO-10: it is a value and not a module", () =>
    Effect.gen(function*() {
      const error = yield* failing(hello)
      assert.strictEqual(error.phase, "start")
      assert.match(error.message, /a value of this process cannot be handed to another one\. Give the URL of the module that exports it/)
    }))

  it.live("a port that there cannot be is a QueueError that names it, before there is a process", () =>
    Effect.gen(function*() {
      const registry = yield* folder
      for (const port of [-1, 70_000, 1.5, { first: 5, last: 4 }]) {
        const error = yield* WorkerGroup.make(Hello, {
          mesh: Mesh.make({ rank: 1 }),
          entry: new URL("./fixtures/hello.ts", import.meta.url)
        }).pipe(
          Effect.provide(NodeCluster.layerWith({ transport: "tcp", port, registry })),
          Effect.scoped,
          Effect.flip
        )
        assert.include(error.message, `the port is ${typeof port === "number" ? port : "5 to 4"}`)
      }
    }))

  it("CO-10: a time that no timer can wait for is a RangeError, before there is a process", () => {
    for (const millis of [Infinity, NaN, -1, 2 ** 31]) {
      assert.throws(() => NodeCluster.layerWith({ grace: millis }), RangeError, "grace must be from 0 to 2147483647 milliseconds")
      assert.throws(() => NodeCluster.layerWith({ keeper: { lease: millis } }), RangeError, "keeper.lease must be from 1 to")
    }
  })
})
