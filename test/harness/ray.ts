/** The Ray cluster that all tests of a run share, where there can be one. */
import * as vitest from "@effect/vitest"
import * as Python from "@phalanx/ray/Python"
import type * as RayHead from "@phalanx/ray/RayHead"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { connect } from "node:net"
import { delimiter, dirname } from "node:path"
import { inject } from "vitest"

/** Why nothing can be tested on Ray here; `undefined` if it can. */
const obstacle = (): string | undefined => {
  if (process.platform !== "linux") return `what is started is found in /proc, and this is ${process.platform}`
  const version = `(${Python.pythonVersion.replace(".", ",")})`
  const { status } = spawnSync("python3", ["-c", `import sys; sys.exit(sys.version_info < ${version})`])
  return status === 0 ? undefined : `there is no python3 of ${Python.pythonVersion} or newer`
}

const { listing, path } = inject("ray")
const reason = listing ? undefined : obstacle()

/** `describe`, or one line that says why not. `more`: another reason. */
export const describe = (name: string, suite: () => void, more: () => string | undefined = () => undefined): void => {
  const why = listing ? undefined : reason ?? more()
  if (why !== undefined) process.stderr.write(`Skipped, ${why}: ${name}\n`)
  vitest.describe.skipIf(why !== undefined)(name, suite)
}

/** How to reach it, and the interpreter that has Ray. */
export interface Head extends RayHead.Head {
  readonly python: string
}

/** Starts it, if nobody has asked before. */
export const head: Effect.Effect<Head> = Effect.callback<string>((resume) => {
  let text = ""
  connect(path).setEncoding("utf8").on("data", (chunk) => text += chunk).once("end", () => resume(Effect.succeed(text)))
}).pipe(Effect.flatMap((text) => {
  const told: Head & { readonly error?: string } = JSON.parse(text)
  return told.error === undefined ? Effect.succeed(told) : Effect.die(new Error(told.error))
}))

/** What a program needs to use it. */
export const environment = Effect.map(head, ({ address, python, token }) => ({
  RAY_ADDRESS: address,
  RAY_AUTH_TOKEN: token,
  PATH: `${dirname(python)}${delimiter}${process.env["PATH"]}`
}))
