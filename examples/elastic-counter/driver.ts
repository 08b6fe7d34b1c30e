/**
 * A driver that kills itself. `node driver.ts FOLDER REQUEST POINT` starts two ranks, counts, and changes their number; it dies at the point: `before 3` or `after 3` is the third write of the
 * journal, `in copy` a step, when it is half done.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import { ResizeError } from "@phalanx/elastic/ElasticError"
import type { Resizable, Resize } from "@phalanx/elastic/Resizable"
import { Effect, Layer } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as DyingJournal from "../../test/harness/dyingJournal.ts"
import { cluster, keys, options } from "./group.ts"
import * as resizing from "./resizing.ts"
import { Counters } from "./worker.ts"

const [folder, request, point] = process.argv.slice(2) as [string, string, string]
mkdirSync(join(folder, "operations"))
const journal = DyingJournal.layer(join(folder, "operations", "journal.db"), point)

type Steps = Omit<Resizable["Service"], "group" | "serving">

/** The process dies when the step has begun, or when it is done and nobody has heard of it. */
const dying = (resizable: Resizable["Service"]): Resizable["Service"] => {
  const step = <K extends keyof Steps>(name: K): Steps[K] =>
    ((resize: Resize) => {
      const run: Effect.Effect<any, ResizeError> = resizable[name](resize)
      if (point === `in ${name}`) {
        return Effect.andThen(
          Effect.forkChild(run, { startImmediately: true }),
          Effect.andThen(Effect.yieldNow, DyingJournal.die)
        )
      }
      if (point === `done ${name}`) return Effect.andThen(run, DyingJournal.die)
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
