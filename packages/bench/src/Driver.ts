/** The harness's hold on a driver process, in which one system runs. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Sampling } from "./Sampling.ts"
import type { Setting } from "./System.ts"
import * as Systems from "./Systems.ts"

/** What the harness asks of a driver. */
export type Order =
  | { readonly _tag: "Start"; readonly setting: Setting }
  | { readonly _tag: "Sample"; readonly sampling: Sampling }
  | { readonly _tag: "Kill" }
  | { readonly _tag: "Stop" }

/** What a driver answers: times in microseconds, and the workers' processes. */
export interface Report {
  readonly micros: ReadonlyArray<number>
  readonly pids: ReadonlyArray<number>
  readonly failure?: string
}

/** A system could not be started, or did not do what it was asked. */
export class SystemFailed extends Schema.TaggedError<SystemFailed>()("SystemFailed", { system: Schema.String, issue: Schema.String }) {
  override get message(): string {
    return `${this.system}: ${this.issue}`
  }
}

/** One driver process and what it can be asked; an order at a time. */
export interface Driver {
  readonly name: Systems.Name
  readonly pid: number
  /** Starts the workers; how long that took. */
  readonly start: (setting: Setting) => Effect.Effect<Report, SystemFailed>
  /** Times calls to all workers at once; `micros` has one value, in microseconds, for each call that counts. */
  readonly sample: (sampling: Sampling) => Effect.Effect<Report, SystemFailed>
  /** Kills a worker in a call; how long the driver took to know. The system has to be stopped afterwards. */
  readonly kill: Effect.Effect<Report, SystemFailed>
  readonly stop: Effect.Effect<Report, SystemFailed>
}

const report = (name: Systems.Name, child: ChildProcess, order?: Order): Effect.Effect<Report, SystemFailed> =>
  Effect.callback<Report, SystemFailed>((resume) => {
    const onMessage = (report: Report) => {
      child.off("exit", onExit)
      resume(report.failure === undefined ? Effect.succeed(report) : Effect.fail(new SystemFailed({ system: name, issue: report.failure })))
    }
    const onExit = () => {
      child.off("message", onMessage)
      resume(Effect.fail(new SystemFailed({ system: name, issue: "its driver is gone" })))
    }
    child.once("message", onMessage)
    child.once("exit", onExit)
    if (order !== undefined) child.send(order)
  })

const gone = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    if (child.connected) child.disconnect()
  })

/** Starts a driver with its system loaded and no worker yet. It ends with the scope, and its workers with it. */
export const spawn = Effect.fnUntraced(function*(name: Systems.Name): Effect.fn.Return<Driver, SystemFailed, Scope.Scope> {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      fork(fileURLToPath(new URL("./internal/driverProcess.ts", import.meta.url)), [Systems.modules[name].href], {
        serialization: "advanced",
        stdio: ["ignore", "ignore", "inherit", "ipc"]
      })
    ),
    gone
  )
  yield* report(name, child)
  const order = (order: Order) => report(name, child, order)
  return {
    name,
    pid: child.pid!,
    start: (setting) => order({ _tag: "Start", setting }),
    sample: (sampling) => order({ _tag: "Sample", sampling }),
    kill: order({ _tag: "Kill" }),
    stop: order({ _tag: "Stop" })
  }
})
