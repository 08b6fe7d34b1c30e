/** Brings faults to groups under a mixed load, and says what came of it. */
import * as Effect from "effect/Effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { waitUntil } from "./condition.ts"
import * as faults from "./faults.ts"
import * as ledgers from "./ledger.ts"
import { type Setting, start } from "./load/driver.ts"
import type * as reports from "./load/report.ts"
import { Random } from "./random.ts"
import * as relays from "./relay.ts"
import * as segments from "./segments.ts"
import * as traces from "./traces.ts"
import * as victims from "./victim.ts"

export interface Options {
  readonly seed: number
  readonly faults: number
  /** Of each group. */
  readonly ranks: number
  /** Kinds of faults that cannot be had here. */
  readonly without: ReadonlyArray<faults.Verb>
  /** Told how many faults are over. */
  readonly progress: (done: number) => void
}

export interface Outcome extends ledgers.Balance {
  readonly seed: number
  readonly faults: Readonly<Record<string, number>>
  readonly restarts: number
  /** As drivers tell them, by reason. */
  readonly deaths: Readonly<Record<string, number>>
  readonly laps: number
  readonly leaked: { readonly processes: number; readonly segments: number; readonly descriptors: number; readonly sockets: number }
  readonly millis: number
}

/** At most so many at once: on a few processors a restart takes a second of one. */
const atOnce = 3

export const run = Effect.fnUntraced(function*(options: Options) {
  const began = performance.now()
  const random = new Random(options.seed)
  const home = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "chaos-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const notes = join(home, "notes")
  const name = `chaos-${process.pid}`
  const [shm, tcp] = [`${name}-shm`, `${name}-tcp`]
  const wires = yield* Effect.forEach(Array.from({ length: options.ranks }), () => relays.make)
  const setting: Setting = {
    seed: options.seed,
    groups: [
      { name: shm, ranks: options.ranks, relays: undefined },
      { name: tcp, ranks: options.ranks, relays: wires.map(({ port }) => port) }
    ],
    callers: 3,
    pause: 20,
    heartbeat: { every: 200, frozen: 1000, unresponsive: 2000 }
  }

  const ledger = ledgers.make()
  const reached = new Set<reports.Stage>()
  const restarts = new Map<string, number>()
  const restartsOf = (group: string, rank: number): number => restarts.get(`${group} ${rank}`) ?? 0
  const deaths: Record<string, number> = {}
  let laps = 0
  let port: number | undefined
  const driver = yield* start(setting, { CHAOS_NOTES: notes, XDG_RUNTIME_DIR: home }, (report) => {
    ledger.hear(report)
    if (report._tag === "Stage") reached.add(report.stage)
    if (report._tag === "Restarted") restarts.set(`${report.group} ${report.rank}`, restartsOf(report.group, report.rank) + 1)
    if (report._tag === "Died") deaths[report.reason] = (deaths[report.reason] ?? 0) + 1
    if (report._tag === "Lapped") laps += report.times
    if (report._tag !== "Bound") return
    port = report.port
    for (const wire of wires) wire.lead(report.port)
  })
  const until = (stage: reports.Stage, millis: number) =>
    Effect.andThen(
      waitUntil(`the driver is ${stage}`, () => reached.has(stage) || driver.ended(), millis),
      Effect.suspend(() => reached.has(stage) ? Effect.void : Effect.die(new Error(`the driver ended before it was ${stage}`)))
    )
  const files = () => readdirSync(segments.folder).filter((file) => file.startsWith(`phalanx-${name}`)).length
  const workers = () => victims.find(`${name}-`).length

  yield* until("loaded", 30_000)
  const loaded = traces.descriptors(driver.pid)
  driver.order({ _tag: "Start" })
  yield* until("up", 60_000)
  const all = () => ({ ...traces.descriptors(driver.pid), files: files(), workers: workers() })
  const up = all()

  // ------------------------------------------------------------------------------------------------ faults
  driver.order({ _tag: "Load" })
  const verbs = faults.make({ setting, driver, ledger, random, relays: new Map([[tcp, wires]]), port: () => port, restarts: restartsOf })
  const deck = faults.deck(options.faults, random, options.without)
  const counts: Record<string, number> = {}
  const unmet: Array<string> = []
  let done = 0
  yield* Effect.forEach(
    deck,
    (verb) =>
      Effect.gen(function*() {
        yield* Effect.delay(Effect.void, random.between(20, 300))
        counts[verb] = (counts[verb] ?? 0) + 1
        const exit = yield* Effect.exit(verbs[verb])
        if (exit._tag === "Failure") unmet.push(`${verb}: ${exit.cause}`)
        options.progress(++done)
      }),
    { concurrency: atOnce, discard: true }
  )

  // ------------------------------------------------------------------------------------------------ afterwards
  /** What does not come to pass is complained of, and the rest is looked at all the same. */
  const tried = (effect: Effect.Effect<void, unknown>) =>
    Effect.map(Effect.exit(effect), (exit) => exit._tag === "Failure" && unmet.push(String(exit.cause)))
  driver.order({ _tag: "Quiet" })
  yield* tried(until("quiet", 60_000))
  const kept = yield* surplus(all, up)
  driver.order({ _tag: "End" })
  yield* tried(until("ended", 30_000))
  const left = yield* surplus(() => traces.descriptors(driver.pid), loaded)
  driver.order({ _tag: "End" })
  yield* tried(waitUntil("the driver has ended", driver.ended, 10_000))
  const rest = yield* surplus(() => ({ workers: workers(), files: files() + records(home) }), { workers: 0, files: 0 })

  const balance = ledger.balance(readFileSync(notes, "utf8"))
  const outcome: Outcome = {
    ...balance,
    complaints: [...unmet, ...balance.complaints],
    seed: options.seed,
    faults: counts,
    deaths,
    laps,
    restarts: [...restarts.values()].reduce((sum, count) => sum + count, 0),
    leaked: {
      processes: kept.workers + rest.workers,
      segments: kept.files + rest.files,
      descriptors: kept.others + left.others,
      sockets: kept.sockets + left.sockets
    },
    millis: performance.now() - began
  }
  return outcome
})

/** How much more there is than there should be, once it has had time to go. */
const surplus = <K extends string>(look: () => Readonly<Record<K, number>>, than: Readonly<Record<K, number>>) => {
  const more = () => {
    const seen = Object.entries<number>(look()) as Array<[K, number]>
    return Object.fromEntries(seen.map(([what, count]) => [what, Math.max(0, count - than[what])])) as Record<K, number>
  }
  const none = () => Object.values<number>(more()).every((count) => count === 0)
  return Effect.andThen(Effect.ignore(waitUntil("nothing is left", none, 7000)), Effect.sync(more))
}

/** Groups that are still recorded. */
const records = (home: string): number => {
  try {
    return readdirSync(join(home, "phalanx")).filter((entry) => entry.startsWith("chaos-")).length
  } catch {
    return 0
  }
}
