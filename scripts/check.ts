/** Everything that is checked besides the tests: one line a step, the output of the steps that failed, exit code 1 if any did. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Stream from "effect/Stream"
import { existsSync, readFileSync } from "node:fs"
import { delimiter, join } from "node:path"

interface Step {
  readonly name: string
  readonly command: readonly [string, ...Array<string>]
  readonly cwd?: string
  /** What is wrong with the output of a command that ended well, if anything. */
  readonly refuse?: (output: string) => string | undefined
}

const root = join(import.meta.dirname, "..")

/** Without its entry under `plugins` the tool ends well having looked at nothing, so the number of files is part of the answer. */
const everyFileWasLookedAt = (output: string) => {
  const [, checked, total] = /Checked (\d+) files out of (\d+)/.exec(output) ?? []
  return checked !== undefined && checked === total && Number(checked) > 0
    ? undefined
    : `effect-tsgo looked at ${checked ?? "no"} of ${total ?? "no"} files`
}

const moe = join(root, "packages/moe")
const reproducesKernel = existsSync(join(moe, "package.json")) &&
  JSON.parse(readFileSync(join(moe, "package.json"), "utf8")).scripts?.kernel !== undefined

// The longest first, so that two lanes end together.
const steps: ReadonlyArray<Step> = [
  { name: "documentation", command: ["docs/node_modules/.bin/typedoc", "--options", "docs/typedoc.config.mjs"] },
  { name: "promises and their tests", command: [process.execPath, "scripts/parity.ts"] },
  { name: "types", command: ["tsc", "-p", "tsconfig.json"] },
  {
    name: "Effect's diagnostics",
    command: ["effect-tsgo", "diagnostics", "--project", "tsconfig.json", "--strict", "--format", "text"],
    refuse: everyFileWasLookedAt
  },
  ...(reproducesKernel
    ? [{ name: "kernel from its source", command: [process.execPath, "--run", "kernel", "--", "--check"] as const, cwd: moe }]
    : []),
  { name: "lint", command: ["oxlint", "--deny-warnings", "-f", "unix"] },
  { name: "format", command: ["dprint", "check", "--list-different"] }
]

const PATH = [join(root, "node_modules/.bin"), process.env["PATH"]].join(delimiter)

const run = Effect.fnUntraced(function*({ command: [file, ...args], cwd, name, refuse }: Step) {
  const start = performance.now()
  const handle = yield* ChildProcess.make(file, args, {
    cwd: cwd ?? root,
    env: { PATH, NO_COLOR: "1" },
    extendEnv: true,
    stdin: "ignore"
  })
  const output = yield* handle.all.pipe(Stream.decodeText, Stream.mkString)
  const code = yield* handle.exitCode
  const complaint = code === 0 ? refuse?.(output) : `${file} ended with ${code}`
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  yield* Console.log(
    `${complaint === undefined ? "ok    " : "FAILED"} ${name} (${seconds} s)${complaint === undefined ? "" : `: ${complaint}`}`
  )
  return complaint === undefined ? [] : [{ name, output }]
}, Effect.scoped)

const program = Effect.gen(function*() {
  const failed = (yield* Effect.forEach(steps, run, { concurrency: 2 })).flat()
  for (const { name, output } of failed) {
    yield* Console.log(`\n— ${name}\n${output.trimEnd()}`)
  }
  yield* Console.log(failed.length === 0 ? `All ${steps.length} checks hold.` : `\n${failed.length} of ${steps.length} checks failed.`)
  if (failed.length > 0) process.exitCode = 1
})

program.pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
