/** A driver under load, in a process of its own. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { fork } from "node:child_process"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { pipe } from "./report.ts"
import type { Order, Report } from "./report.ts"

/** What it is to do. */
export interface Setting {
  readonly seed: number
  readonly groups: ReadonlyArray<{
    readonly name: string
    readonly ranks: number
    /** The ports by which its ranks reach it over TCP; over shared memory it has none. */
    readonly relays: ReadonlyArray<number> | undefined
  }>
  /** Fibers that call, a group. */
  readonly callers: number
  /** Milliseconds at most between two calls of one of them. */
  readonly pause: number
  readonly heartbeat: { readonly every: number; readonly frozen: number; readonly unresponsive: number }
}

export interface Driver {
  readonly pid: number
  readonly order: (order: Order) => void
  /** Has a rank let its event loop go only now and then, for so long, while all ranks are sent much. */
  readonly slowReader: (group: string, rank: number, millis: number, nap: number) => void
  /** Has a handler keep its rank's event loop for so long, computing or asleep. */
  readonly blockLoop: (group: string, rank: number, millis: number, spins: boolean) => void
  /** Whether it runs no more. */
  readonly ended: () => boolean
}

/** Starts it; it ends with the scope at the latest. `env` is added to this process's. */
export const start = (
  setting: Setting,
  env: Readonly<Record<string, string>>,
  hear: (report: Report) => void
): Effect.Effect<Driver, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const stdio: Array<"ignore" | "ipc" | "pipe" | number> = ["ignore", 2, 2, "ipc"]
      stdio[pipe] = "pipe"
      const child = fork(fileURLToPath(new URL("./driverProcess.ts", import.meta.url)), [JSON.stringify(setting)], {
        stdio,
        env: { ...process.env, ...env }
      })
      let rest = ""
      ;(child.stdio[pipe] as Readable).setEncoding("utf8").on("data", (text: string) => {
        const lines = (rest + text).split("\n")
        rest = lines.pop()!
        for (const line of lines) hear(JSON.parse(line))
      })
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  ).pipe(Effect.map((child) => {
    const order = (order: Order): void => void (child.connected && child.send(order))
    return {
      pid: child.pid!,
      order,
      slowReader: (group, rank, millis, nap) => order({ _tag: "SlowReader", group, rank, millis, nap }),
      blockLoop: (group, rank, millis, spins) => order({ _tag: "BlockLoop", group, rank, millis, spins }),
      ended: () => child.exitCode !== null || child.signalCode !== null
    }
  }))
