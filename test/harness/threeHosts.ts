/** A Ray cluster of three hosts, whose first one is this process's. */
import * as Python from "@phalanx/ray/Python"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdirSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Hosts from "./hosts.ts"

const script = fileURLToPath(new URL("../../packages/ray/python/cluster.py", import.meta.url))

/** Small nodes of Ray, whose loss is news after two seconds. */
const environment = (token: string): NodeJS.ProcessEnv => ({
  ...process.env,
  RAY_AUTH_MODE: "token",
  RAY_AUTH_TOKEN: token,
  RAY_enable_metrics_collection: "0",
  // More than a driver has use for.
  RAY_prestart_worker_first_driver: "0",
  RAY_task_events_report_interval_ms: "0",
  RAY_maximum_gcs_destroyed_actor_cached_count: "100",
  RAY_health_check_initial_delay_ms: "1000",
  RAY_health_check_period_ms: "500",
  RAY_health_check_timeout_ms: "1000",
  RAY_health_check_failure_threshold: "3"
})

/** The cluster's address, once its node is up. */
const ready = (child: ChildProcess): Effect.Effect<string> =>
  Effect.callback<string>((resume) => {
    createInterface({ input: child.stdout! }).once("line", (line) => resume(Effect.succeed(JSON.parse(line).address)))
    child.once("exit", (code, signal) => resume(Effect.die(new Error(`a node of Ray ended with ${signal ?? code}`))))
  })

/** Three hosts, and what can happen to them. */
export class Three extends Context.Service<Three, {
  readonly address: string
  readonly token: string
  readonly python: string
  /** Starts a host, or one that was lost again, as a node of the cluster. */
  readonly start: (host: number) => Effect.Effect<void>
  /** A power failure. */
  readonly kill: (host: number) => Effect.Effect<void>
}>()("@phalanx/test/Three") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const outer = yield* Effect.scope
      const { path: python } = yield* Effect.orDie(Python.find())
      yield* Hosts.begin
      const token = randomBytes(32).toString("hex")
      const command = (host: number, join: string | null) => {
        const settings = { folder: "/dev/shm/ray", siblings: "/dev/shm/none", host: Hosts.address(host), join, cpus: 8, gpus: 0 }
        return [python, script, "phalanx", JSON.stringify({ ...settings, resources: {}, objectStore: 75 * 1024 * 1024 })]
      }
      mkdirSync("/dev/shm/ray")
      const [file, ...args] = command(1, null)
      const head = yield* Effect.acquireRelease(
        Effect.sync(() => spawn(file!, args, { env: environment(token), stdio: ["pipe", "pipe", "inherit"], detached: true })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const address = yield* ready(head)
      const up = new Map<number, Scope.Closeable>()
      const kill = (host: number) =>
        Effect.suspend(() => {
          const scope = up.get(host)
          up.delete(host)
          return scope === undefined ? Effect.void : Scope.close(scope, Exit.void)
        })
      const start = Effect.fnUntraced(function*(host: number) {
        yield* kill(host)
        const scope = yield* Scope.fork(outer)
        up.set(host, scope)
        const made = ["sh", "-c", "mkdir -p /dev/shm/ray; exec \"$@\"", "phalanx", ...command(host, address)]
        yield* Effect.flatMap(Scope.provide(Hosts.start(host, made, environment(token)), scope), ready)
      })
      yield* Effect.all([start(2), start(3)], { concurrency: 2 })
      return Three.of({ address, token, python, start, kill })
    })
  )
}

/** A connection to them. */
export const cluster = (options: RayCluster.Options = {}) =>
  Layer.unwrap(
    Effect.map(Three, ({ address, python, token }) =>
      RayCluster.layer({ address, python, token, output: "ignore", progress: () => {}, ...options }))
  )
