import { assert, describe } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Python from "@phalanx/ray/Python"
import type * as RayCluster from "@phalanx/ray/RayCluster"
import type { RayError } from "@phalanx/ray/RayError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer as createHttpServer } from "node:http"
import { connect, createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Another } from "../../../test/harness/Another.ts"
import { head } from "../../../test/harness/ray.ts"
import { childrenNaming, cluster, eventually, type Shared } from "./cluster.ts"
import { Scout } from "./fixtures/scoutProtocol.ts"
import { isAll } from "./transports.ts"

/** Fails to connect, within so many milliseconds; no process is left of it. */
const refused = Effect.fnUntraced(function*(options: RayCluster.Options, millis: number) {
  const [began, before] = [performance.now(), childrenNaming("bridge.py")]
  const error = yield* Effect.flip(Effect.scoped(Layer.build(cluster(options))))
  assert.isBelow(performance.now() - began, millis)
  if (error._tag !== "RayError") return yield* Effect.die(error)
  yield* eventually("no process is left", Effect.sync(() => childrenNaming("bridge.py").length === before.length))
  return error
})

const is = (error: RayError, reason: RayError["reason"], words: RegExp) => {
  assert.strictEqual(error.reason, reason, error.message)
  assert.match(error.message, words)
}

/** An address where a server listens. */
const listening = (server: Server) =>
  Effect.acquireRelease(
    Effect.callback<string>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(`127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`))
      })
    }),
    () => Effect.sync(() => server.close())
  )

/** An address where nobody answers, not even to refuse. */
const silent = Effect.gen(function*() {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, [fileURLToPath(new URL("./fixtures/silent.mjs", import.meta.url))])),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const port = yield* Effect.callback<number>((resume) => {
    child.stdout.once("data", (text) => resume(Effect.succeed(Number(text))))
  })
  // The queue takes as many as it was made for, and one more.
  const knocking = Array.from({ length: 3 }, () => connect(port, "127.0.0.1").on("error", () => {}))
  yield* Effect.addFinalizer(() => Effect.sync(() => knocking.forEach((socket) => socket.destroy())))
  yield* eventually("its queue is full", Effect.sync(() => knocking.filter((socket) => !socket.connecting).length === 2))
  return `127.0.0.1:${port}`
})

/** An interpreter that says what it is told to. */
const interpreter = (facts: Record<string, unknown>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-test-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    ),
    (folder) => {
      const path = join(folder, "python3")
      const told = JSON.stringify({ path, version: "3.11.7", ray: null, ...facts })
      writeFileSync(path, `#!/bin/sh\nif [ "$1" = -c ]; then echo '${told}'; else echo it is out of order >&2; exit 1; fi\n`)
      chmodSync(path, 0o755)
      return path
    }
  )

export const errors = (it: Shared) =>
  describe("a Ray that cannot be used is an error that says why, in time", () => {
    it.effect("RY-4: an address where nobody listens, within 2 seconds", () =>
      Effect.gen(function*() {
        is(
          yield* refused({ address: "127.0.0.1:1" }, 2000),
          "Unreachable",
          /^127\.0\.0\.1:1: connect ECONNREFUSED .*Give the address of the head/
        )
      }))

    it.effect("RY-4: an address that does not answer, within 4 seconds", () =>
      Effect.gen(function*() {
        is(yield* refused({ address: yield* silent }, 4000), "Silent", /no answer within 3000 ms\. Check that the host is up/)
      }).pipe(Effect.scoped))

    it.effect("RY-4: a port that is not Ray's, within 15 seconds", () =>
      Effect.gen(function*() {
        is(yield* refused({ address: yield* listening(createServer()) }, 15_000), "NotRay", /has not answered as Ray does within 3000 ms/)
        is(yield* refused({ address: yield* listening(createHttpServer()) }, 15_000), "NotRay", /does not speak as Ray does/)
      }).pipe(Effect.scoped))

    it.effect("RY-4: a wrong token, and none", () =>
      Effect.gen(function*() {
        is(yield* refused({ token: "0".repeat(64) }, 20_000), "Token", /Give the cluster's token with the option `token`/)
        is(yield* refused({ token: "" }, 20_000), "Token", /RAY_AUTH_TOKEN/)
      }))

    it.effect("RY-4: what is no address of a control service", () =>
      Effect.gen(function*() {
        is(yield* refused({ address: "ray://127.0.0.1:10001" }, 2000), "BadAddress", /Give it as host:port/)
        is(yield* refused({ address: "somewhere" }, 2000), "BadAddress", /somewhere: this is not the address/)
      }))

    it.effect("RY-4: no interpreter, one that is too old, one without Ray, and one with a Ray of another version", () =>
      Effect.gen(function*() {
        const find = (options: Python.Options) => Effect.flip(Python.find(options))
        is(
          yield* find({ python: "python-of-nobody" }),
          "NoPython",
          /^python-of-nobody: there is no such interpreter\. Install Python 3\.10/
        )
        is(yield* find({ python: yield* interpreter({ version: "3.8.2" }) }), "NoPython", /this is Python 3\.8\.2, and Ray needs 3\.10/)
        is(yield* find({ python: yield* interpreter({}) }), "NoRay", /it has no Ray\. Run `\S+ -m pip install ray==2\.60\.0`/)
        is(
          yield* find({ python: yield* interpreter({ ray: "2.9.3" }) }),
          "RayVersion",
          /its Ray is 2\.9\.3, and this is made for >=2\.60\.0/
        )
      }).pipe(Effect.scoped))

    it.effect("RY-4: an environment that cannot be made", () =>
      Effect.gen(function*() {
        const said: Array<string> = []
        const python = yield* interpreter({ version: "3.12.99" })
        is(
          yield* Effect.flip(Python.find({ python, install: true, progress: (text) => said.push(text) })),
          "NotInstalled",
          /Ray 2\.60\.0 could not be installed: it is out of order\. Run `pip install ray==2\.60\.0`/
        )
        assert.match(said[0]!, /^Ray: making an environment for it in .*, once$/)
      }).pipe(Effect.scoped))

    it.effect("RY-4: a worker whose Node is not there, or whose module throws, which leaves no placement group", () =>
      Effect.gen(function*() {
        const starting = (module: string) =>
          WorkerGroup.make(Scout, { name: "scouts", mesh: Mesh.make({ rank: 1 }), entry: new URL(module, import.meta.url) }).pipe(
            Effect.scoped,
            Effect.flip,
            Effect.map((error) => error.message)
          )
        const started = starting("./fixtures/scout.ts")
        assert.match(yield* Effect.provide(started, cluster({ node: "/nowhere/node" })), /\/nowhere\/node: not found/)
        if (isAll) {
          assert.match(
            yield* Effect.provide(started, cluster({ cwd: "/nowhere" })),
            /No such file or directory: '\/nowhere'\. Node, the worker's module/
          )
        }
        assert.match(
          yield* starting("./fixtures/throws.ts"),
          /rank 0 on 127\.\S+ failed in import of .*throws\.ts: the weights are missing/
        )
        const known = yield* (yield* Another).ask()
        assert.deepStrictEqual([...known.actors, ...known.groups], [])
      }))

    it.effect("finds the interpreter that has Ray already", () =>
      Effect.gen(function*() {
        const { python } = yield* head
        assert.deepInclude(yield* Python.find({ python }), { path: python, ray: "2.60.0" })
      }))
  })
