/**
 * The language model goes from size to size under load, as an operation beside the steps that run, and, on a group of its own in the same run, as whoever has no other way would do it: hold requests back, wait for those that
 * are open, end the group, start one of the new size.
 */
import type * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import type { MessageQueues } from "@phalanx/core/MessageQueues"
import type { QueueError } from "@phalanx/core/QueueError"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as Load from "@phalanx/moe/testing/Load"
import * as Pauses from "@phalanx/moe/testing/Pauses"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import * as Proc from "./Proc.ts"
import * as Resident from "./Resident.ts"

/** The size that the group begins with, and comes back to; it is what is held at this size that is compared. */
export const home = 2
/** Back to it twice. */
export const round = [4, 3, 1, 4, 2, 1, 2]
/** Requests at a time, if nothing else is said; half of them have to have tokens before and after a change for it to count. */
const requestsOpen = 16
/** Steps within which each rank has to have requests. */
const soon = 20

/** One change of size. Times in milliseconds. */
export interface Change extends Pauses.Pause {
  readonly from: number
  readonly to: number
  /** From the request to the end of the last step, or to the first token of the new group. */
  readonly totalMs: number
  /** How long each step of the operation took; none where there is no operation. */
  readonly steps: Readonly<Record<string, number>>
  /** Whether every rank had requests before and soon after, and enough of them went on. */
  readonly counts: boolean
}

/** What is held while the group has the size that it began with. Memory in bytes, after a forced collection. */
export interface Held {
  readonly driver: number
  /** Of the rank that lives from the beginning to the end, without shared segments: a ring is touched bit by bit in its first lap, and `files` says how many there are. */
  readonly rank: number
  readonly driverDescriptors: number
  readonly rankDescriptors: number
  /** In the folder of segments. */
  readonly files: number
  /** Where it is not on this machine alone: what else, by name. */
  readonly more: Readonly<Record<string, number>>
}

/** Where a group is. */
export interface Where<E> {
  /** With this folder for segments. */
  readonly cluster: (folder: string) => Layer.Layer<Cluster.Cluster | MessageQueues, E>
  /** What else is held; the process is that of the rank that lives throughout. */
  readonly more: (rank: number) => Effect.Effect<Held["more"]>
}

const onMachine: Where<QueueError> = {
  cluster: (folder) => NodeCluster.layerWith({ folder }),
  more: () => Effect.succeed({})
}

const temporary = (folder: string) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(folder, "phalanx-bench-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

const entry = new URL("./workers/collectedModel.ts", import.meta.url)
const mesh = (dp: number) => Mesh.make({ dp, tp: 1 })

/** Goes through the sizes, each change an operation. `tell` hears each change. */
export const elastic = Effect.fnUntraced(function*<E = QueueError>(
  sizes: ReadonlyArray<number>,
  tell: (change: Change) => void,
  { cluster, more }: Where<E | QueueError> = onMachine,
  open = requestsOpen
) {
  const folder = yield* temporary("/dev/shm")
  const journal = Elastic.layerSqlite({ filename: join(yield* temporary(tmpdir()), "journal.sqlite") })
  return yield* Effect.gen(function*() {
    const ranks = yield* WorkerGroup.make(Moe.Moe, { name: "bench", mesh: mesh(home), capacity: Math.max(home, ...sizes), entry })
    const pauses = Pauses.make()
    const generator = yield* Generator.make({ ranks, requests: 16, onStep: pauses.step })
    const group = ElasticRanks.make({ ranks, generator })
    const load = yield* Load.start({ generator, open, onToken: pauses.token })
    const [{ pid }] = (yield* ranks.call.describe()) as [Moe.Description]
    const everyRankHasRequests = () => generator.seating.running().every((requests) => requests.length > 0)

    const hold = Effect.gen(function*() {
      process.kill(pid, "SIGUSR2")
      yield* pauses.steps(10)
      const driver = yield* Resident.afterCollection
      const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length
      return {
        driver,
        rank: Proc.ownBytes(pid),
        driverDescriptors: descriptors(process.pid),
        rankDescriptors: descriptors(pid),
        files: readdirSync(folder).length,
        more: yield* more(pid)
      }
    })

    yield* pauses.steps(50)
    const changes: Array<Change> = []
    const held: Array<Held> = [yield* hold]
    for (const [i, dp] of sizes.entries()) {
      yield* pauses.steps(10)
      const hadRequests = everyRankHasRequests()
      const { from, steps } = yield* Elastic.scale(group, { to: { dp, tp: 1 }, operation: `change-${i}` })
      const owned = yield* pauses.soon(soon, everyRankHasRequests)
      yield* pauses.steps(10)
      const pause = pauses.of(steps.find(({ step }) => step === "commit")!)
      const change: Change = {
        ...pause,
        from: from.shape["dp"]!,
        to: dp,
        totalMs: steps.at(-1)!.ended - steps[0]!.began,
        steps: Object.fromEntries(steps.map(({ began, ended, step }) => [step, ended - began])),
        counts: hadRequests && owned < soon && pause.across >= open / 2
      }
      changes.push(change)
      tell(change)
      if (dp === home) held.push(yield* hold)
    }
    const texts = yield* load.stop
    const recomputed = (yield* ranks.call.usage()).reduce((sum, usage) => sum + usage.recomputed, 0)
    return { changes, held, requests: load.sent(), texts, recomputed }
  }).pipe(Effect.provide(Layer.merge(journal, cluster(folder))))
}, Effect.scoped)

/** The same without an operation. Nobody is cut off, so the readers of long texts make all others wait. */
export const blocking = Effect.fnUntraced(function*(sizes: ReadonlyArray<number>, tell: (change: Change) => void, open = requestsOpen) {
  const pauses = Pauses.make()
  const begin = Effect.fnUntraced(function*(dp: number) {
    const scope = yield* Scope.make()
    const ranks = yield* Scope.provide(WorkerGroup.make(Moe.Moe, { name: "bench", mesh: mesh(dp), entry }), scope)
    return { scope, generator: yield* Scope.provide(Generator.make({ ranks, requests: 16, onStep: pauses.step }), scope) }
  })
  let present = yield* begin(home)
  yield* Effect.addFinalizer(() => Scope.close(present.scope, Exit.void))
  const admitted = Latch.makeUnsafe(true)
  const idle = Latch.makeUnsafe(true)
  let running = 0
  const count = (by: number) =>
    Effect.sync(() => {
      running += by
      if (running === 0) idle.openUnsafe()
      else idle.closeUnsafe()
    })
  const stream = (request: Generator.Request) =>
    Stream.unwrap(
      admitted.await.pipe(
        Effect.andThen(count(1)),
        Effect.map(() => Stream.ensuring(Stream.suspend(() => present.generator.stream(request)), count(-1)))
      )
    )
  const load = yield* Load.start({ generator: { stream }, open, onToken: pauses.token })
  const changes: Array<Change> = []
  let from = home
  for (const to of sizes) {
    yield* pauses.steps(25)
    const began = performance.timeOrigin + performance.now()
    admitted.closeUnsafe()
    yield* idle.await
    yield* Scope.close(present.scope, Exit.void)
    present = yield* begin(to)
    admitted.openUnsafe()
    yield* pauses.steps(5)
    const ended = performance.timeOrigin + performance.now()
    const pause = pauses.of({ began, ended })
    const totalMs = performance.timeOrigin + pause.at + pause.pauseMs + pause.stepMs - began
    const change: Change = { ...pause, from, to, totalMs, steps: {}, counts: true }
    changes.push(change)
    tell(change)
    from = to
  }
  yield* load.stop
  return changes
}, Effect.scoped)

/** A change in words. */
export const words = ({ across, counts, from, pauseMs, pauseSteps, stepMs, steps, to, totalMs }: Change): string => {
  const change = `${from} → ${to} in ${Math.round(totalMs)} ms`
  if (Object.keys(steps).length === 0) return `${change}, stopped and started: ${Math.round(pauseMs + stepMs)} ms without a token`
  const each = Object.entries(steps).map(([step, ms]) => `${step} ${ms}`).join(", ")
  const pause = `${pauseMs.toFixed(1)} ms, ${pauseSteps.toFixed(2)} steps of ${stepMs.toFixed(1)} ms`
  return `${change} (${each}): a pause of ${pause}; ${across} requests went on${counts ? "" : "; does not count"}`
}
