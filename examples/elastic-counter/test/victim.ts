/**
 * A driver that kills itself. `node victim.ts FOLDER REQUEST POINT` dies at the point: `before 3` or `after 3` is the third write of the journal, `in copy` a step, when it is half done, `done copy` when
 * nobody has heard of it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Elastic from "@phalanx/elastic/Elastic"
import { ResizeError } from "@phalanx/elastic/ElasticError"
import type { Resizable, Resize } from "@phalanx/elastic/Resizable"
import { Effect, Layer } from "effect"
import * as DyingJournal from "../../../test/harness/dyingJournal.ts"
import { drive } from "../driver.ts"
import { journalOf } from "../group.ts"

const [folder, request, point] = process.argv.slice(2) as [string, string, string]

type Steps = Omit<Resizable["Service"], "group" | "serving">

const dying = (resizable: Resizable["Service"]): Resizable["Service"] => {
  const step = <K extends keyof Steps>(name: K): Steps[K] =>
    ((resize: Resize) => {
      const run: Effect.Effect<any, ResizeError> = resizable[name](resize)
      if (point === `in ${name}`) {
        return Effect.andThen(Effect.forkChild(run, { startImmediately: true }), Effect.andThen(Effect.yieldNow, DyingJournal.die))
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

const journal = Elastic.layer.pipe(Layer.provide(DyingJournal.layer(journalOf(folder), point)))
NodeRuntime.runMain(drive(folder, JSON.parse(request), journal, dying))
