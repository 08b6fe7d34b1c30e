/** Drivers of Ray that are none of Phalanx's: Python programs, which end when their standard input does. */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import process from "node:process"

/** Its interpreter, and the cluster that it is a driver of. */
export interface Options {
  readonly python: string
  readonly address: string
  readonly token: string
}

/** Starts one; it has ended when the scope does. */
export const start = (script: string, { address, python, token }: Options, args: ReadonlyArray<string> = []) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(python, [script, "phalanx", address, ...args], {
        stdio: ["pipe", "pipe", "inherit"],
        env: { ...process.env, RAY_AUTH_MODE: "token", RAY_AUTH_TOKEN: token }
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void)).stdin.end()
      })
  )
