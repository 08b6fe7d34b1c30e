import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { closeSync, existsSync, openSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { run, runIn } from "../../../test/harness/program.ts"
import { describe as describeOnRay, environment } from "../../../test/harness/ray.ts"
import { children, files, lives } from "../../../test/harness/traces.ts"
import * as Phalanx from "../src/Phalanx.ts"
import * as Topology from "../src/Topology.ts"

const phalanx = (...args: ReadonlyArray<string>) => run("packages/cli/phalanx.mjs", ...args)
const objects = (stdout: string): Array<any> => stdout.trim().split("\n").map((line) => JSON.parse(line))

const until = <A>(look: () => A | undefined | false) =>
  Effect.sync(look).pipe(
    Effect.repeat({ until: (seen) => seen !== undefined && seen !== false, schedule: Schedule.spaced("5 millis") }),
    Effect.timeout("30 seconds")
  )

/** What the reference writes for two words: one entry that is cut, and one that comes to its end. */
const { prompts } = JSON.parse(readFileSync(new URL("../../moe/model/reference.json", import.meta.url), "utf8"))
const expected = (prompt: string, maxTokens: number, finish: "length" | "stop") => {
  const { output } = prompts.find(({ name }: { readonly name: string }) => name === prompt)
  const bytes = [...Buffer.from(output, "hex").subarray(0, maxTokens)]
  return { type: "result", prompt, text: Buffer.from(bytes).toString(), bytes, finish }
}
const entries = [expected("actor", 60, "length"), expected("blorptastic", 60, "stop")]
const words = ["actor", "blorptastic", "--max-tokens", "60"]

/** What the command says as it fails, in this process. */
const refused = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  let said = ""
  const console = Object.create(globalThis.console, { error: { value: (line: string) => said += `${line}\n` } })
  const exit = yield* Phalanx.run(args).pipe(
    Effect.provide(NodeServices.layer),
    Effect.provideService(Console.Console, console),
    Effect.exit
  )
  assert.isTrue(Exit.isFailure(exit))
  return said
})

describe("phalanx generate", () => {
  it.live("--json gives one result a prompt, in order, with exactly its keys; --kill ends a rank in mid-sentence, and the text goes on", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* phalanx("generate", ...words, "--ranks", "2", "--json", "--kill", "1")
      assert.strictEqual(code, 0)
      const of = (type: string) => objects(stdout).filter((line) => line.type === type)
      assert.deepStrictEqual(of("result").map(Object.entries), entries.map(Object.entries))
      assert.deepStrictEqual(of("died").map(({ rank, reason }) => [rank, reason]), [[1, "signal"]])
      assert.deepStrictEqual(of("restarted").map(({ experts, rank }) => [rank, experts]), [[1, of("rank")[1].experts]])
      assert.include(yield* refused("generate", "x", "--ranks", "2", "--kill", "2"), "--kill 2: the ranks are 0 … 1")
    }))

  it.live("writes the same over TCP, by ranks that share the attention heads", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* phalanx("generate", ...words, "--ranks", "2", "--tp", "2", "--transport", "tcp", "--json")
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(objects(stdout).filter(({ type }) => type === "result"), entries)
    }))

  describeOnRay("--cluster ray", () => {
    it.live("RY-1: writes on Ray, byte for byte, what processes of this machine write", () =>
      Effect.gen(function*() {
        const env = yield* environment
        const results = (stdout: string) => objects(stdout).filter(({ type }) => type === "result")
        const given = ["blorptastic", "--max-tokens", "10", "--json", "--cluster", "ray"]
        const wanted = [expected("blorptastic", 10, "length")]
        const two = yield* runIn(env, "packages/cli/phalanx.mjs", "generate", ...given, "--ranks", "2", "--transport", "tcp")
        assert.deepStrictEqual([two.code, two.stderr, results(two.stdout)], [0, "", wanted])
        const demo = yield* runIn(env, "packages/cli/phalanx.mjs", "demo", "--", ...given)
        assert.deepStrictEqual([demo.code, objects(demo.stdout).filter(({ type }) => type === "rank").length], [0, 4])
        assert.deepStrictEqual(results(demo.stdout), wanted)
        assert.include(
          yield* refused("generate", "river", "--cluster", "ray", "--transport", "shm"),
          "--transport shm: a Ray cluster may span machines; give mixed or tcp"
        )
      }), 120_000)
  })

  it.live("a pipe gets whole lines: the ranks, the entries in order, the summary with what ranks sent each other", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* phalanx("generate", ...words, "--ranks", "2", "--transport", "memory")
      assert.strictEqual(code, 0)
      assert.notInclude(stdout, "\x1b")
      assert.match(stdout, /^2 ranks \(dp 2 × tp 1\) over memory.*\nrank 0 {2}pid \d+ {2}experts 0–15 .*\nrank 1 /)
      const [actor, blorptastic] = entries
      assert.include(stdout, `\nactor\n${actor!.text} …\n\nblorptastic\n${blorptastic!.text}\n`)
      assert.match(stdout, /2 entries, 114 bytes in/)
      assert.match(stdout, /\nrank 0 +0 +[1-9]\d*\nrank 1 +[1-9]\d* +0\n/)
    }))

  it.live("an empty prompt is refused", () =>
    Effect.gen(function*() {
      assert.include(yield* refused("generate", ""), "An empty prompt is no headword; with --raw the model begins by itself")
    }))

  it.live("flags that contradict each other are a usage error that says how", () =>
    Effect.gen(function*() {
      const given = (ranks?: number, dp?: number, tp?: number) =>
        Topology.resolve({ ranks: Option.fromNullishOr(ranks), dp: Option.fromNullishOr(dp), tp: Option.fromNullishOr(tp) })
      assert.deepStrictEqual(yield* given(), { dp: 4, tp: 1 })
      assert.deepStrictEqual(yield* given(3), { dp: 3, tp: 1 })
      assert.deepStrictEqual(yield* given(undefined, 2, 2), { dp: 2, tp: 2 })
      assert.deepStrictEqual(yield* given(4, undefined, 2), { dp: 2, tp: 2 })
      assert.include((yield* Effect.flip(given(4, 2, 1))).message, "--dp 2 and --tp 1 make 2 ranks, not --ranks 4")
      assert.include((yield* Effect.flip(given(3, undefined, 2))).message, "--ranks 3 is not a multiple of --tp 2")
      assert.include((yield* Effect.flip(given(undefined, undefined, 3))).message, "--tp 3")
      const { code, stderr } = yield* phalanx("generate", "x", "--ranks", "4", "--dp", "2", "--tp", "1")
      assert.strictEqual(code, 1)
      assert.include(stderr, "--dp 2 and --tp 1 make 2 ranks, not --ranks 4")
      assert.notInclude(stderr, "    at ")
    }))

  it.live("a damaged file of weights is told by name, with what to do, and no stack", () =>
    Effect.gen(function*() {
      const said = yield* refused("generate", "x", "--ranks", "1", "--weights", "package.json")
      assert.include(said, "package.json")
      assert.notInclude(said, "    at ")
    }))
})

describe("phalanx generate in a pipe", () => {
  it.live("CO-10: ends in order when nobody reads on", () =>
    Effect.gen(function*() {
      const driver = spawn(process.execPath, [
        fileURLToPath(new URL("../phalanx.mjs", import.meta.url)),
        "generate",
        "hack",
        "--json",
        "--ranks",
        "1",
        "--max-tokens",
        "40"
      ], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      yield* until(() => children(driver.pid!).length === 1)
      const workers = children(driver.pid!)
      driver.stdout.once("data", () => driver.stdout.destroy())
      yield* until(() => files(driver.pid!).length > 0)
      const left = files(driver.pid!)
      yield* until(() => driver.exitCode !== null || driver.signalCode !== null)
      assert.deepStrictEqual([driver.exitCode, workers.filter(lives), left.filter((path) => existsSync(path))], [0, [], []])
    }))

  it.live("an answer that could not be written is told, and is no success", () =>
    Effect.gen(function*() {
      const full = yield* Effect.acquireRelease(Effect.sync(() => openSync("/dev/full", "w")), (full) => Effect.sync(() => closeSync(full)))
      const program = fileURLToPath(new URL("../phalanx.mjs", import.meta.url))
      const { status, stderr } = spawnSync(process.execPath, [program, "--version"], { stdio: ["ignore", full, "pipe"], encoding: "utf8" })
      assert.strictEqual(status, 1)
      assert.match(stderr, /^Standard output lacks a part of the answer: ENOSPC/)
    }).pipe(Effect.scoped))
})

describe("phalanx demo", () => {
  const interrupted = Effect.fnUntraced(function*(
    when: (driver: ChildProcess, said: () => string) => Effect.Effect<unknown, unknown>,
    signal: NodeJS.Signals = "SIGINT"
  ) {
    const driver = spawn(process.execPath, [new URL("../phalanx.mjs", import.meta.url).pathname, "demo", "--", "hack", "--ranks", "2"], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    let said = ""
    driver.stdout.on("data", (chunk) => said += chunk)
    driver.stderr.on("data", (chunk) => said += chunk)
    yield* when(driver, () => said)
    const workers = children(driver.pid!)
    const left = files(driver.pid!)
    driver.kill(signal)
    yield* until(() => driver.exitCode !== null || driver.signalCode !== null)
    assert.deepStrictEqual(workers.filter(lives), [])
    assert.deepStrictEqual(left.filter((path) => existsSync(path)), [])
    return { code: driver.exitCode, workers, left }
  })

  it.live("CO-10: Ctrl-C at any moment, and a terminal that is closed, leaves no process and no file", () =>
    Effect.gen(function*() {
      yield* interrupted((driver) => until(() => driver.pid !== undefined))
      yield* interrupted((driver) => until(() => children(driver.pid!).length >= 1))
      const hungUp = yield* interrupted((driver) => until(() => children(driver.pid!).length === 2), "SIGHUP")
      assert.deepStrictEqual([hungUp.code, hungUp.workers.length], [130, 2])
      assert.isAbove(hungUp.left.length, 0)
      const writing = yield* interrupted((_, said) => until(() => said().includes("rank 1")))
      assert.strictEqual(writing.code, 130)
      assert.strictEqual(writing.workers.length, 2)
      assert.isAbove(writing.left.length, 0)
    }))
})
