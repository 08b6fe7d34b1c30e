/** The start of a group's keeper, and its end where it does not end by itself. */
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as OsProcess from "../OsProcess.ts"
import type { Entry } from "../Registry.ts"
import * as environment from "./environment.ts"
import * as keeping from "./keeping.ts"
import * as sweeping from "./sweeping.ts"

const bootstrap = fileURLToPath(new URL("./keeperBootstrap.mjs", import.meta.url))

/** It has little to do and lives long. */
const flags = ["--max-semi-space-size=1", "--single-threaded-gc"]

/** Milliseconds that it has to start, on a machine that has too much to do, and to go. */
const startWithin = 30_000
const goWithin = 1000

export const failed = (issue: string): keeping.Refusal => ({
  phase: "start",
  issue: `the group's keeper could not be started: ${issue}`,
  advice: "The option `node` names the binary of Node 26 or newer; let XDG_RUNTIME_DIR name a folder with a short path that takes sockets"
})

/** Starts a keeper in a session of its own, so that it outlives this process and its terminal; resolves when it listens. */
export const start = (
  { folder, group, secret }: Entry,
  node: string,
  leaseMillis: number
): Effect.Effect<OsProcess.OsProcess, keeping.Refusal> =>
  Effect.callback((resume) => {
    let child: ChildProcess
    try {
      child = spawn(node, [...flags, bootstrap, "phalanx", group, "keeper"], {
        stdio: ["pipe", "pipe", "pipe"],
        detached: true,
        env: { ...process.env, ...environment.of(group) }
      })
    } catch (cause) {
      return resume(Effect.fail(failed((cause as Error).message)))
    }
    let said = ""
    const fail = (issue: string): void => {
      clearTimeout(timer)
      child.kill("SIGKILL")
      resume(Effect.fail(failed(said === "" ? issue : `${issue}: ${said.trim()}`)))
    }
    const timer = setTimeout(() => fail(`it was not ready within ${startWithin} ms`), startWithin)
    child.on("error", (cause) => fail(cause.message))
    child.once("close", (code, signal) => fail(`it ended with ${signal ?? `exit code ${code}`}`))
    child.stderr!.setEncoding("utf8").on("data", (text: string) => said = (said + text).slice(-1000))
    child.stdin!.on("error", () => {}).end(keeping.line({ folder, group, secret, leaseMillis } satisfies keeping.Setup))
    child.stdout!.once("data", () => {
      clearTimeout(timer)
      child.unref()
      for (const stream of [child.stdout!, child.stderr!]) stream.destroy()
      resume(Effect.succeed(OsProcess.of(child.pid!)))
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Waits for a keeper that was told to end, and ends it otherwise. */
export const end = ({ folder, group }: Entry, keeper: OsProcess.OsProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const deadline = performance.now() + goWithin
    const look = (): void => {
      if (!OsProcess.lives(keeper) || performance.now() > deadline) return resume(Effect.void)
      setTimeout(look, 2)
    }
    look()
  }).pipe(Effect.andThen(Effect.ignore(sweeping.kill(folder, group, [keeper]))))
