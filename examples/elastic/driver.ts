/**
 * The first driver of a group that has several. `node driver.ts FOLDER FROM TO CAPACITY CLUSTER OPEN` starts so many ranks, answers so many requests at a time, goes to the other size, and kills itself when that is decided and about to
 * begin.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import type { Request, Resizable } from "@phalanx/elastic/Resizable"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import type { Ranks } from "@phalanx/moe/Ranks"
import * as Load from "@phalanx/moe/testing/Load"
import { Effect, Latch, type Layer, Logger, Stream } from "effect"
import { spawn } from "node:child_process"
import { mkdirSync, writeSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import * as group from "./group.ts"
import type { Timeline } from "./timeline.ts"

const say = (line: group.Line): void => void writeSync(1, `${JSON.stringify(line)}\n`)

/** What a driver is to do. */
export interface Orders<E> {
  readonly folder: string
  /** `node`, or `ray`. Default `node`. */
  readonly cluster?: string
  readonly from: number
  readonly request: Request
  readonly capacity: number
  readonly journal: Layer.Layer<Elastic.Elastic, E>
  /** What the ranks are prepared for another size through, and what they are resized through. */
  readonly ranks?: (ranks: Ranks["Service"]) => Ranks["Service"]
  readonly resizable: (resizable: Resizable["Service"]) => Resizable["Service"]
  /** Limits of one step; see `Generator`. */
  readonly requests?: number
  /** Requests that are open at a time. */
  readonly open?: number
  /** Tokens that are read before the size is changed. */
  readonly tokens: number
}

/** Answers requests that have ids, and changes the size meanwhile. */
export const drive = <E>(orders: Orders<E>) =>
  Effect.gen(function*() {
    const started = yield* WorkerGroup.make(Moe.Moe, { ...group.options(orders.from, orders.capacity), name: "elastic" })
    const ranks = orders.ranks?.(started) ?? started
    say({ group: ranks.name, pids: ranks.workers.map(({ pid }) => pid) })
    const generator = yield* Generator.make({
      ranks,
      requests: orders.requests ?? 16,
      onStep: ({ replied }) => say({ step: performance.timeOrigin + replied })
    })
    let tokens = 0
    const read = Latch.makeUnsafe()
    yield* Load.start({
      generator: {
        stream: (request) =>
          Stream.unwrap(Effect.map(generator.submit(request), (accepted) => {
            say({ accepted })
            return generator.attach(accepted)
          }))
      },
      open: orders.open,
      id: String,
      onToken: (n) => {
        say({ token: n, at: performance.timeOrigin + performance.now() })
        if (++tokens === orders.tokens) read.openUnsafe()
      }
    })
    yield* read.await
    const resizable = orders.resizable(ElasticRanks.make({ ranks, generator }))
    yield* Elastic.scale(resizable, { ...orders.request, operation: "first" })
  }).pipe(
    Effect.scoped,
    Effect.provide([group.cluster(orders.folder, orders.cluster), orders.journal]),
    Effect.tapCause(Effect.logError),
    Effect.provideService(Logger.LogToStderr, true)
  )

/** Standard output is for what it says of itself. */
export const main = NodeRuntime.runMain({ disableErrorReporting: true })

/** Where a driver's workers are recorded has to be there before it starts. */
export const prepare = (folder: string): void => void mkdirSync(join(folder, "registry"), { mode: 0o700 })

/** Has another process be the driver until it is killed; what it reads is told to a timeline. */
export const run = (folder: string, args: ReadonlyArray<number | string>, timeline: Timeline) =>
  Effect.callback<{
    readonly group: string
    readonly pids: ReadonlyArray<number | undefined>
    readonly accepted: ReadonlyArray<string>
    /** How many tokens of each request have been read. */
    readonly read: Map<number, number>
    /** When the last one was read, in milliseconds since 1970. */
    readonly killed: number
    readonly signal: string
  }>((resume) => {
    prepare(folder)
    const child = spawn(process.execPath, [import.meta.filename, folder, ...args.map(String)], { stdio: ["ignore", "pipe", "inherit"] })
    const read = new Map<number, number>()
    const accepted: Array<string> = []
    let [name, pids, killed] = ["", [] as ReadonlyArray<number | undefined>, 0]
    const hear = (line: group.Line): void => {
      if ("group" in line) [name, pids] = [line.group, line.pids]
      else if ("accepted" in line) accepted.push(line.accepted)
      else if ("step" in line) timeline.step({ replied: line.step - performance.timeOrigin })
      else {
        read.set(line.token, (read.get(line.token) ?? 0) + 1)
        killed = line.at
        timeline.token(line.token, line.at - performance.timeOrigin)
      }
    }
    createInterface({ input: child.stdout }).on("line", (line) => hear(JSON.parse(line)))
    child.once("close", (_, signal) => resume(Effect.succeed({ group: name, pids, accepted, read, killed, signal: String(signal) })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

if (import.meta.main) {
  const [folder, from, to, capacity, cluster, open] = process.argv.slice(2) as [string, string, string, string, string, string]
  const die = Effect.andThen(Effect.sync(() => process.kill(process.pid, "SIGKILL")), Effect.never)
  main(drive({
    folder,
    cluster,
    from: Number(from),
    request: { to: { dp: Number(to), tp: 1 } },
    capacity: Number(capacity),
    journal: group.operations(folder),
    resizable: (resizable) => ({ ...resizable, commit: () => die }),
    open: Number(open),
    tokens: 25 * Number(open)
  }))
}
