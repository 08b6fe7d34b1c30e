/**
 * A Ray cluster of one node on this machine, for as long as a scope is open. Linux only, as the sessions are that it is found by when it ends.
 */
import * as WorkerProcess from "@phalanx/node/WorkerProcess"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { environment } from "./internal/bridge.ts"
import * as Python from "./Python.ts"
import { RayError } from "./RayError.ts"

/** What the node offers; all of it is optional. */
export interface Options extends Python.Options {
  /** Processors that it offers, whatever the machine has. Default 64. */
  readonly cpus?: number | undefined
  /** Devices that it says it has. Default 0. */
  readonly gpus?: number | undefined
  /** What else it offers, by name. Default nothing. */
  readonly resources?: Readonly<Record<string, number>> | undefined
  /** Bytes of Ray's object store, which Phalanx has no use for; 75 MiB at least, and the default. */
  readonly objectStore?: number | undefined
  /** The address of this machine that the node is known by. Default: one that is reached from this machine alone. */
  readonly host?: string | undefined
}

/** How to reach a cluster. */
export interface Head {
  /** Host and port of its control service. */
  readonly address: string
  /** Without it nobody gets in. */
  readonly token: string
}

const script = fileURLToPath(new URL("../python/cluster.py", import.meta.url))

/** Milliseconds that it has to end in order. */
const lastMillis = 5000

const Ready = Schema.fromJsonString(Schema.Struct({ address: Schema.String }))

/** Ends whatever of a session is left: all of Ray's processes stay in the one that they were started in. */
const sweep = (session: number, folder: string): void => {
  for (const entry of readdirSync("/proc")) {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8")
      if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]) === session) process.kill(Number(entry), "SIGKILL")
    } catch {
      // No process, or one that has just ended.
    }
  }
  rmSync(folder, { recursive: true, force: true })
}

/** Starts a cluster; ready when its node has joined. The scope's end leaves no process and no file. */
export const make: (options?: Options) => Effect.Effect<Head, RayError, Scope.Scope> = Effect.fnUntraced(function*(options = {}) {
  const python = yield* Python.find(options)
  const token = randomBytes(32).toString("hex")
  // Sockets lie in it, and their paths must be short.
  const siblings = join(tmpdir(), "phalanx-ray-")
  const folder = mkdtempSync(siblings)
  const settings = {
    folder,
    siblings,
    join: null,
    // Ray takes another address of this machine for 127.0.0.1, but not for its neighbours.
    host: options.host ?? "127.0.0.2",
    cpus: options.cpus ?? 64,
    gpus: options.gpus ?? 0,
    resources: options.resources ?? {},
    objectStore: Math.max(options.objectStore ?? 0, 75 * 1024 * 1024)
  }
  const ready = Deferred.makeUnsafe<Head, RayError>()
  const stderr = WorkerProcess.makeTail(20)
  const split = WorkerProcess.splitter(stderr.push)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(python.path, [script, "phalanx", JSON.stringify(settings)], {
        stdio: ["pipe", "pipe", "pipe"],
        detached: true,
        env: {
          ...environment(token),
          // A node that is lost is news after two seconds, not after a minute.
          RAY_health_check_initial_delay_ms: "1000",
          RAY_health_check_period_ms: "500",
          RAY_health_check_timeout_ms: "1000",
          RAY_health_check_failure_threshold: "3",
          // An agent is all that a driver has started, and that as soon as it is there.
          RAY_prestart_worker_first_driver: "0",
          // Nobody asks it for what has been.
          RAY_enable_metrics_collection: "0",
          RAY_task_events_report_interval_ms: "0",
          RAY_maximum_gcs_destroyed_actor_cached_count: "100"
        }
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        const over = () => {
          clearTimeout(timer)
          if (child.pid !== undefined) sweep(child.pid, folder)
          resume(Effect.void)
        }
        const timer = setTimeout(over, lastMillis)
        if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return over()
        child.once("close", over)
        child.stdin.end()
      })
  )
  child.stdin.on("error", () => {})
  child.stderr.setEncoding("utf8").on("data", split.push)
  const failed = (issue: string): void => {
    Deferred.doneUnsafe(
      ready,
      Exit.fail(
        new RayError({
          reason: "NotStarted",
          where: "a Ray cluster of one node",
          issue: [`it did not start: ${issue}`, ...stderr.take()].join("\n  "),
          advice: "Ray's own words say why"
        })
      )
    )
  }
  child.on("error", (cause) => failed(cause.message))
  child.once("close", (code, signal) => failed(signal ?? `exit code ${code}`))
  createInterface({ input: child.stdout }).once("line", (line) => {
    const decoded = Schema.decodeUnknownResult(Ready)(line)
    if (decoded._tag === "Success") Deferred.doneUnsafe(ready, Exit.succeed({ address: decoded.success.address, token }))
    else failed(line)
  })
  return yield* Deferred.await(ready)
})
