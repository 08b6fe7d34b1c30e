/** Groups on the Ray cluster that all tests share, and what Ray knows of them. */
import type { Vitest } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import type { Another } from "../../../test/harness/Another.ts"
import { head } from "../../../test/harness/ray.ts"
import { Scout } from "./fixtures/scoutProtocol.ts"

/** What workers have printed, of all groups of this file. */
export const lines: Array<{ readonly group: string; readonly rank: number; readonly stream: string; readonly text: string }> = []

/** A connection to it. */
export const cluster = (options: RayCluster.Options = {}) =>
  Layer.unwrap(
    Effect.map(head, ({ address, python, token }) =>
      RayCluster.layer({
        address,
        python,
        token,
        output: (line) => lines.push(line),
        progress: () => {},
        ...options
      }))
  )

/** One that gives workers more than their host does. */
export const carrying = Layer.unwrap(
  Effect.as(
    Effect.acquireRelease(
      Effect.sync(() => process.env["PHALANX_TEST_CARRIED"] = "carried"),
      () => Effect.sync(() => delete process.env["PHALANX_TEST_CARRIED"])
    ),
    cluster({ env: { PHALANX_TEST_ADDED: "added" }, carry: ["PHALANX_TEST_CARRIED", "PATH", "PHALANX_TEST_NOTHING"] })
  )
)

export const entry = new URL("./fixtures/scout.ts", import.meta.url)

/** A group of scouts on whatever cluster is provided. */
export const scouts = (ranks: number, placing: RayCluster.Placing = {}) => shaped(ranks, 1, placing)

/** One of a mesh with two dimensions. */
export const shaped = (tp: number, pp: number, placing: RayCluster.Placing = {}) =>
  WorkerGroup.make(Scout, { name: "scouts", mesh: Mesh.make({ pp, tp }), entry }).pipe(RayCluster.placed(placing))

type Group = Effect.Success<ReturnType<typeof scouts>>

/** Two scouts that tests have one after another, since an agent and two workers take more than a second of a processor to start. What dies is started again. */
export class Pair extends Context.Service<Pair, {
  readonly group: Group
  /** Ends it; nobody can have it after that. */
  readonly end: Effect.Effect<void>
}>()("@phalanx/ray/test/Pair") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope)
      const supervision = Supervision.restart({ max: 20, per: "1 minute", backoff: "10 millis" })
      const group = yield* Scope.provide(
        WorkerGroup.make(Scout, { name: "scouts", mesh: Mesh.make({ pp: 1, tp: 2 }), entry, supervision }).pipe(
          RayCluster.placed({ resources: { CPU: 1, seat: 1 } })
        ),
        scope
      )
      return Pair.of({ group, end: Scope.close(scope, Exit.void) })
    })
  )
}

/** Whether a process runs. */
export const lives = (pid: number): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    return stat[stat.lastIndexOf(")") + 2] !== "Z"
  } catch {
    return false
  }
}

/** Resolves when the condition holds; dies with a sentence if it does not within the time given. To look at what Ray knows costs as much as many calls. */
export const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>, millis = 10_000): Effect.Effect<void, E, R> =>
  condition.pipe(
    Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("25 millis") }),
    Effect.timeoutOrElse({ duration: millis, orElse: () => Effect.die(new Error(`not within ${millis} ms: ${what}`)) }),
    Effect.asVoid
  )

/** Tests with another driver that they share. */
export type Beside = Vitest.MethodsNonLive<Another>
/** Tests with a connection that they share, too. */
export type Shared = Vitest.MethodsNonLive<Layer.Success<ReturnType<typeof cluster>> | Another>
/** Tests that have a group, too, one after another. */
export type Paired = Vitest.MethodsNonLive<Layer.Success<ReturnType<typeof cluster>> | Another | Pair>

/** The processes that this one has started and whose command line has a word. */
export const childrenNaming = (word: string): ReadonlyArray<number> =>
  readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim().split(" ").map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(word)
    } catch {
      return false
    }
  })
