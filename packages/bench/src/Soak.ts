/**
 * Groups at full load for minutes, of which a rank is killed every few seconds: what the driver and the oldest worker hold, and what is open. A stand-in for a day: what grows
 * with calls or with restarts shows in a quarter of an hour of thousands of both.
 */
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { readdirSync } from "node:fs"
import type { Group } from "./Mortals.ts"
import * as Plot from "./Plot.ts"
import * as Resident from "./Resident.ts"
import { median } from "./Row.ts"
import { Mortal } from "./workers/Mortal.ts"

const ranks = 3
/** Rank 0 lives from the beginning to the end. */
const mortal = [1, 2]
const bytes = new Uint8Array(64 * 1024)
/** Fibers that call, a group. */
const callers = 4

/** What was held at one moment. */
export interface Sample {
  readonly minute: number
  readonly driver: number
  readonly worker: number
}

/** What came of it. Memory in bytes. */
export interface Summary {
  readonly minutes: number
  readonly calls: number
  readonly restarts: number
  /** Medians of resident memory: of the second fifth of the time, which is minutes 2 to 4 of ten, and of the last three tenths. */
  readonly driver: Held
  readonly worker: Held
  /** Descriptors of the driver before and after, all ranks serving and nobody calling. */
  readonly descriptors: { readonly before: number; readonly after: number }
}

/** Resident memory in two spans of time. */
export interface Held {
  readonly early: number
  readonly late: number
}

/** The windows that are compared, as shares of the time. */
const windows = { early: [0.2, 0.4], late: [0.7, 1] } as const

const start = (transport: "shm" | "tcp") =>
  WorkerGroup.make(Mortal, {
    mesh: Mesh.make({ rank: ranks }),
    entry: new URL("./workers/mortalWorker.ts", import.meta.url),
    name: "soak",
    supervision: Supervision.restart({ max: 1000, per: "1 milli" })
  }).pipe(Effect.provide(NodeCluster.layerWith({ transport })))

/** One call of each kind; what a death makes of any is not of interest here. */
const round = (group: Group) =>
  Effect.forEach([
    group.exits.hello({ n: 1 }),
    Effect.exit(group.at(0).call.echo({ bytes })),
    group.exits.echo({ bytes }),
    Effect.exit(Stream.runDrain(group.slice({ rank: [0, 1] }).stream.count({ to: 20 }))),
    Effect.exit(Effect.timeout(group.call.hold(), 2)),
    group.slice({ rank: [0] }).exits.hold(undefined, { timeout: 2 }),
    group.exits.meet(),
    Effect.exit(group.broadcast.hello({ n: 1 }))
  ], (call: Effect.Effect<unknown>) => call)

const descriptors = (): number => readdirSync("/proc/self/fd").length

/**
 * Asked a few times with pauses, so that what is opened when it is first needed is open. The load may have ended in the midst of a collective, after which there are none until
 * the next restart.
 */
const settle = (groups: ReadonlyArray<Group>) =>
  Effect.forEach(groups, (group) => Effect.andThen(group.call.hello({ n: 1 }), group.exits.meet()), { concurrency: "unbounded" }).pipe(
    Effect.delay(200),
    Effect.repeat({ times: 4 }),
    Effect.andThen(Resident.afterCollection)
  )

/** Runs for so many minutes; `tell` hears each sample. */
export const run = Effect.fnUntraced(function*(minutes: number, tell: (sample: Sample) => void) {
  const groups = yield* Effect.forEach(["shm", "tcp"] as const, start)
  yield* settle(groups)
  const before = descriptors()
  const began = performance.now()
  const samples: Array<Sample> = []
  let calls = 0
  let restarts = 0
  const loads = groups.flatMap((group) =>
    Array.from({ length: callers }, () => Effect.forever(Effect.tap(round(group), (done) => Effect.sync(() => calls += done.length))))
  )
  const kills = Effect.suspend(() => {
    const group = groups[restarts % groups.length]!
    restarts++
    return group.kill(mortal[Math.floor(restarts / groups.length) % mortal.length]!)
  }).pipe(Effect.repeat(Schedule.spaced("3 seconds")))
  const sample = Effect.gen(function*() {
    const driver = yield* Resident.afterCollection
    const worker = yield* groups[0]!.at(0).call.resident()
    const taken = { minute: (performance.now() - began) / 60_000, driver, worker }
    samples.push(taken)
    tell(taken)
  }).pipe(Effect.repeat(Schedule.spaced(Math.min(5000, minutes * 60_000 / 40))))
  yield* Effect.raceFirst(
    Effect.all([...loads, kills, sample], { concurrency: "unbounded", discard: true }),
    Effect.delay(Effect.void, minutes * 60_000)
  )
  yield* settle(groups)
  const held = (of: (sample: Sample) => number): Held => {
    const during = ([from, to]: readonly [number, number]): number =>
      median(samples.filter(({ minute }) => minute >= from * minutes && minute <= to * minutes).map(of))
    return { early: during(windows.early), late: during(windows.late) }
  }
  const summary: Summary = {
    minutes,
    calls,
    restarts,
    driver: held(({ driver }) => driver),
    worker: held(({ worker }) => worker),
    descriptors: { before, after: descriptors() }
  }
  return { samples, summary }
}, Effect.scoped)

const growth = ({ early, late }: Held): number => late / early
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** Whether it is as it should be: memory at most a twentieth above, as many descriptors. */
export const isFlat = ({ descriptors, driver, worker }: Summary): boolean =>
  growth(driver) <= 1.05 && growth(worker) <= 1.05 && descriptors.after === descriptors.before

/** The summary in words. */
export const words = (summary: Summary): ReadonlyArray<string> => [
  `${summary.minutes} minutes, ${summary.calls.toLocaleString("en-US")} calls, ${summary.restarts} restarts`,
  ...(["driver", "worker"] as const).map((who) => {
    const { early, late } = summary[who]
    return `resident memory of the ${who === "driver" ? "driver" : "oldest worker"}: ${megabytes(early)}, later ${megabytes(late)} (× ${
      growth(summary[who]).toFixed(3)
    })`
  }),
  `descriptors of the driver: ${summary.descriptors.before}, later ${summary.descriptors.after}`
]

/** The samples as a plot. */
export const plot = (samples: ReadonlyArray<Sample>, { minutes }: Summary): string => {
  const line = (name: string, color: string, of: (sample: Sample) => number): Plot.Line => ({
    name,
    color,
    points: samples.map((sample) => ({ x: sample.minute, y: of(sample) / 1e6 }))
  })
  const span = ([from, to]: readonly [number, number]) => ({ from: from * minutes, to: to * minutes, name: "compared" })
  return Plot.svg({
    title: "Resident memory at full load with restarts, after a forced collection",
    xUnit: "minutes",
    yUnit: "MB",
    lines: [line("driver", "#1f6feb", ({ driver }) => driver), line("worker that lived throughout", "#c2410c", ({ worker }) => worker)],
    spans: [span(windows.early), span(windows.late)]
  })
}

/** The section of `RESULTS.md`. */
export const section = (summary: Summary): string =>
  [
    "## soak",
    `Two groups of ${ranks}, over shared memory and TCP, each with ${callers} fibers that call as fast as they can and a rank that is killed every 6 seconds. Memory is that of the second fifth of `
    + "the time and of the last three tenths.",
    words(summary).map((line) => `- ${line}`).join("\n"),
    "![Resident memory over time](soak.svg)"
  ].join("\n\n") + "\n"
