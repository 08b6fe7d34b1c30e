/**
 * Kills drivers at random moments: while they start, under load, with a worker in a handler that never lets go. Counts what is left of each: of
 * its workers after a second, of its files after the next start. What is left is looked for in `/proc` and in folders, not in anybody's books.
 *
 * `pnpm driver:kills [--rounds N] [--seed N] [--json]`; the exit code is 1 if anything was left.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { lives, naming } from "../harness/traces.ts"
import { Load } from "./loadProtocol.ts"

/** When a driver is killed. */
export type Moment = "start" | "load" | "block"
const moments: ReadonlyArray<Moment> = ["start", "load", "block"]

/** What is left of one driver. */
export interface Round {
  readonly moment: Moment
  readonly transport: "shm" | "ipc" | "tcp"
  /** Workers that ran when it was killed. */
  readonly workers: number
  /** Milliseconds from the kill until none did. */
  readonly goneMillis: number
  /** Workers that ran a second after it. */
  readonly workersLeft: number
  /** Segments, doorbells, folders of sockets and entries of the registry after the next start. */
  readonly filesLeft: ReadonlyArray<string>
  /** How many of them there were before. */
  readonly files: number
}

export interface Ledger {
  readonly rounds: number
  readonly moments: Readonly<Record<Moment, number>>
  readonly workers: number
  readonly files: number
  readonly workersLeft: number
  readonly filesLeft: number
  readonly goneMillis: { readonly p50: number; readonly max: number }
}

/** Numbers in [0, 1) that depend on the seed alone. */
const random = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let word = Math.imul(state ^ (state >>> 15), state | 1)
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32
  }
}

const driver = fileURLToPath(new URL("./loadDriver.ts", import.meta.url))
const poll = Schedule.spaced("1 millis")

/** A folder that stands for a user's runtime folder, and for the one of temporary files. */
const home = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-kills-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const entries = (folder: string): ReadonlyArray<string> => existsSync(join(folder, "phalanx")) ? readdirSync(join(folder, "phalanx")) : []

const filesOf = (folder: string, name: string): ReadonlyArray<string> => [
  ...readdirSync("/dev/shm").filter((file) => file.startsWith(`phalanx-${name}-`)),
  ...readdirSync(folder).filter((file) => file.startsWith("phalanx-")),
  ...entries(folder)
]

/** Starts and ends a group: what a user does who was not told of any crash. */
const startAnother = (folder: string) =>
  Effect.scoped(
    WorkerGroup.make(Load, { name: "next", mesh: Mesh.make({ rank: 1 }), entry: new URL("./loadWorker.ts", import.meta.url) }).pipe(
      Effect.provide(NodeCluster.layerWith({ registry: join(folder, "phalanx"), output: "ignore" })),
      Effect.provideService(References.MinimumLogLevel, "Warn")
    )
  )

const kill = Effect.fnUntraced(function*(folder: string, number: number, moment: Moment, draw: () => number, size: number | undefined) {
  const name = `kill-${process.pid}-${number}`
  const transport = draw() < 0.7 ? "shm" : draw() < 0.5 ? "ipc" : "tcp"
  const ranks = size ?? 2 + Math.floor(draw() * 3)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [driver, name, String(ranks), transport, ...(moment === "block" ? ["block"] : [])], {
        stdio: ["ignore", "pipe", "inherit"],
        env: { ...process.env, XDG_RUNTIME_DIR: folder, TMPDIR: folder }
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let said = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => said += text)
  const until = (holds: () => boolean) => Effect.repeat(Effect.sync(holds), { until: (holds) => holds, schedule: poll })
  const saying = (word: string) => until(() => said.includes(word))
  // What follows its name tells a worker's command line from the driver's.
  const workers = () => naming(`${name}-`)

  if (moment === "start") {
    // From its first trace until all serve.
    yield* until(() => entries(folder).length > 0)
    yield* Effect.raceFirst(Effect.delay(Effect.void, draw() * 800), saying("ready"))
  } else {
    yield* saying(moment === "block" ? "blocked" : "ready")
    yield* Effect.delay(Effect.void, draw() * 300)
  }
  const running = workers()
  const ended = Effect.callback<void>((resume) => {
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
  const began = performance.now()
  yield* ended
  yield* until(() => performance.now() - began > 1000 || (!running.some(lives) && workers().length === 0))
  const left = workers()
  const goneMillis = performance.now() - began
  const files = filesOf(folder, name).length
  yield* startAnother(folder)
  return {
    moment,
    transport,
    workers: running.length,
    goneMillis,
    workersLeft: left.length,
    files,
    filesLeft: filesOf(folder, name)
  } satisfies Round
}, Effect.scoped)

/** Kills so many drivers, one after the other, each of so many ranks: by chance two to four. */
export const campaign = Effect.fn("driverKills")(function*(
  options: {
    readonly rounds: number
    readonly seed: number
    readonly ranks?: number
    readonly onRound?: (round: Round, number: number) => Effect.Effect<void>
  }
) {
  const folder = yield* home
  const draw = random(options.seed)
  const rounds: Array<Round> = []
  for (let number = 0; number < options.rounds; number++) {
    const round = yield* kill(folder, number, moments[number % moments.length]!, draw, options.ranks)
    rounds.push(round)
    if (options.onRound !== undefined) yield* options.onRound(round, number)
  }
  const sum = (of: (round: Round) => number) => rounds.reduce((total, round) => total + of(round), 0)
  const times = rounds.map(({ goneMillis }) => goneMillis).sort((a, b) => a - b)
  const count = (moment: Moment) => sum((round) => round.moment === moment ? 1 : 0)
  return {
    rounds: rounds.length,
    moments: { start: count("start"), load: count("load"), block: count("block") },
    workers: sum(({ workers }) => workers),
    files: sum(({ files }) => files),
    workersLeft: sum(({ workersLeft }) => workersLeft),
    filesLeft: sum(({ filesLeft }) => filesLeft.length),
    goneMillis: { p50: times[Math.floor(times.length / 2)] ?? 0, max: times.at(-1) ?? 0 }
  } satisfies Ledger
}, Effect.scoped)

const command = Command.make(
  "driver:kills",
  {
    rounds: Flag.Int("rounds").pipe(Flag.withDescription("How many drivers to kill"), Flag.withDefault(10)),
    seed: Flag.Int("seed").pipe(Flag.withDescription("What the moments depend on"), Flag.withDefault(1)),
    json: Flag.Boolean("json").pipe(Flag.withDescription("The ledger as one JSON object on the last line"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, rounds, seed }) {
    const ledger = yield* campaign({
      rounds,
      seed,
      onRound: ({ files, filesLeft, goneMillis, moment, transport, workers, workersLeft }, number) =>
        Console.log(
          `${String(number + 1).padStart(4)}  ${moment.padEnd(5)}  ${transport}  ${workers} workers gone after ${
            goneMillis.toFixed(1)
          } ms, `
            + `${files} files${workersLeft > 0 ? `; ${workersLeft} WORKERS LEFT` : ""}${
              filesLeft.length > 0 ? `; LEFT ${filesLeft.join(" ")}` : ""
            }`
        )
    })
    yield* Console.log(json ? JSON.stringify(ledger) : ledger)
    if (ledger.workersLeft + ledger.filesLeft > 0) process.exitCode = 1
  })
)

if (import.meta.main) {
  NodeRuntime.runMain(Command.run(command, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer)))
}
