/**
 * A driver that kills itself. `node driver.ts FOLDER REQUEST POINT` starts two ranks, counts, and changes their number; it dies at the point: `before 3` or `after 3` is the third write of the
 * journal, `in copy` a step, when it is half done.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import { ResizeError } from "@phalanx/elastic/ElasticError"
import * as Journal from "@phalanx/elastic/Journal"
import type { Resizable, Resize } from "@phalanx/elastic/Resizable"
import * as Sqlite from "@phalanx/elastic/Sqlite"
import { Effect, Layer } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cluster, keys, options } from "./group.ts"
import * as resizing from "./resizing.ts"
import { Counters } from "./worker.ts"

const [folder, request, point] = process.argv.slice(2) as [string, string, string]
const die = Effect.andThen(Effect.sync(() => process.kill(process.pid, "SIGKILL")), Effect.never)

let writes = 0
mkdirSync(join(folder, "operations"))
const filename = join(folder, "operations", "journal.db")
const journal = Layer.effect(
  Journal.Journal,
  Effect.map(Journal.Journal, (journal) => {
    const dying = <A extends ReadonlyArray<any>, B, E>(write: (...args: A) => Effect.Effect<B, E>) => (...args: A) =>
      Effect.suspend(() => {
        const number = ++writes
        if (point === `before ${number}`) return die
        return point === `after ${number}` ? Effect.andThen(write(...args), die) : write(...args)
      })
    const { begin, close, decide, end, open, recordActivity } = journal
    return Journal.Journal.of({
      ...journal,
      begin: dying(begin),
      close: dying(close),
      decide: dying(decide),
      end: dying(end),
      open: dying(open),
      recordActivity: dying(recordActivity)
    })
  })
).pipe(Layer.provide(Journal.layer), Layer.provide(Sqlite.layer({ filename, synchronous: "NORMAL" })))

type Steps = Omit<Resizable["Service"], "group" | "serving">

/** The process dies when the step has begun, or when it is done and nobody has heard of it. */
const dying = (resizable: Resizable["Service"]): Resizable["Service"] => {
  const step = <K extends keyof Steps>(name: K): Steps[K] =>
    ((resize: Resize) => {
      const run: Effect.Effect<any, ResizeError> = resizable[name](resize)
      if (point === `in ${name}`) {
        return Effect.andThen(
          Effect.forkChild(run, { startImmediately: true }),
          Effect.andThen(Effect.yieldNow, die)
        )
      }
      if (point === `done ${name}`) return Effect.andThen(run, die)
      // Nothing is aborted unless something has failed.
      const fails = name === "ready" && /^\w+ abort$/.test(point)
      return fails ? new ResizeError({ issue: "it is to fail", advice: "Let it" }) : run
    }) as Steps[K]
  return {
    ...resizable,
    prepare: step("prepare"),
    copy: step("copy"),
    ready: step("ready"),
    commit: step("commit"),
    retire: step("retire"),
    abort: step("abort")
  }
}

const program = Effect.gen(function*() {
  const group = yield* WorkerGroup.make(Counters, { ...options, name: "counters" })
  const { add, resizable } = resizing.make(group)
  yield* Effect.forEach(keys, (key, index) => add(key, index), { concurrency: 8 })
  writeFileSync(join(folder, "group.json"), JSON.stringify({ name: group.name, pids: group.workers.map(({ pid }) => pid) }))
  yield* Elastic.scale(dying(resizable), { ...JSON.parse(request), operation: "a" })
}).pipe(Effect.scoped, Effect.provide([cluster(folder), Elastic.layer.pipe(Layer.provide(journal))]))

NodeRuntime.runMain(program)
