import { ResizeError } from "@phalanx/elastic/ElasticError"
import type { Resizable, Resize } from "@phalanx/elastic/Resizable"
import * as Effect from "effect/Effect"
import * as DyingJournal from "./dyingJournal.ts"

type Steps = Omit<Resizable["Service"], "group" | "serving">

/** What a driver can be killed at, besides the writes of its journal: `in copy`, when a step has begun, `in copy 30`, so many milliseconds later, and `done copy`, when nobody has heard of its end. */
export const points = ["prepare", "copy", "ready", "commit", "retire", "abort"].flatMap((step) => [`in ${step}`, `done ${step}`])

/** A group whose driver dies at a point. */
export const make = (resizable: Resizable["Service"], point: string): Resizable["Service"] => {
  const step = <K extends keyof Steps>(name: K): Steps[K] =>
    ((resize: Resize) => {
      const run: Effect.Effect<any, ResizeError> = resizable[name](resize)
      const [, inside, millis] = /^in (\w+)(?: (\d+))?$/.exec(point) ?? []
      if (inside === name) {
        const die = millis === undefined
          ? Effect.andThen(Effect.yieldNow, DyingJournal.die)
          : Effect.delay(DyingJournal.die, Number(millis))
        return Effect.andThen(Effect.forkChild(run, { startImmediately: true }), die)
      }
      if (point === `done ${name}`) return Effect.andThen(run, DyingJournal.die)
      // Nothing is aborted unless something has failed.
      const fails = name === "ready" && /^\w+ abort\b/.test(point)
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
