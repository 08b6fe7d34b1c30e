import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { join } from "node:path"

const root = join(import.meta.dirname, "../..")

/** How a program ended, and all that it said. */
export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program of this project to its end, or until its test times out, with the Node that runs this, and with this environment besides its own. */
export const runIn = (env: Readonly<Record<string, string>>, path: string, ...args: ReadonlyArray<string>): Effect.Effect<Ended> =>
  Effect.callback((resume) => {
    const child = execFile(
      process.execPath,
      [join(root, path), ...args],
      { cwd: root, maxBuffer: 1 << 26, env: { ...process.env, ...env } },
      (error, stdout, stderr) =>
        resume(Effect.succeed({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, stdout, stderr }))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** As `runIn`, in the environment of this process. */
export const run = (path: string, ...args: ReadonlyArray<string>): Effect.Effect<Ended> => runIn({}, path, ...args)
