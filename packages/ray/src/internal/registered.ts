/**
 * A cluster on Ray whose groups are in the registry of the driver's machine: with their workers, for people and for the driver that takes them over. Workers are Ray's to end, whatever is
 * recorded of them.
 */
import { AdoptError } from "@phalanx/core/AdoptError"
import type * as Cluster from "@phalanx/core/Cluster"
import { SpawnError } from "@phalanx/core/WorkerError"
import type { Entry, Registry } from "@phalanx/node/Registry"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Effect from "effect/Effect"
import type { RayError } from "../RayError.ts"
import type { Refused } from "./bridge.ts"
import type * as workers from "./workers.ts"

export interface Options {
  readonly registry: Registry["Service"]
  readonly workers: Effect.Success<ReturnType<typeof workers.make>>
  /** Where shared memory lies. */
  readonly segments: string | undefined
  /** Milliseconds for which groups outlive a driver; 0: not at all. */
  readonly graceMillis: number
}

const notAdopted = (group: string) => (error: RayError | Refused): AdoptError =>
  error._tag === "RayError"
    ? new AdoptError({ group, reason: "unknown", issue: `${error.where}: ${error.issue}`, advice: error.advice })
    : new AdoptError({
      group,
      reason: error.code === "Driven" ? "driven" : "late",
      issue: error.detail,
      advice: "Leave it to another driver if it has one; else start it anew, and adopt within the time of `detachedFor`"
    })

export const make = ({ graceMillis, registry, segments, workers }: Options): Cluster.Cluster["Service"] => {
  const noted = new WeakSet<Entry>()
  /** Before it has a worker, so that whoever sweeps leaves these alone. */
  const note = (entry: Entry): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (noted.has(entry) || graceMillis === 0) return Effect.void
      noted.add(entry)
      return entry.keptBy(undefined, graceMillis)
    })
  return {
    spawn: Effect.fnUntraced(function*(worker) {
      const { group, rank, secret } = worker.identity
      const entry = yield* Effect.mapError(registry.enter({ group, secret, segments }), ({ advice, issue, where }) =>
        new SpawnError({
          rank,
          node: "Ray",
          entry: worker.entry instanceof URL ? worker.entry.href : "a worker value",
          phase: "start",
          issue: `${where}: ${issue}`,
          advice,
          stderr: []
        }))
      yield* note(entry)
      const process = yield* workers.spawn(worker, entry.replace)
      if (process.pid !== undefined) yield* entry.seat(worker, process.pid)
      return process
    }),
    adopt: graceMillis === 0 ? undefined : Effect.fnUntraced(function*(adopt) {
      // Without Ray nothing is known of its workers, and the group stays as it is.
      yield* Effect.mapError(workers.bridge, notAdopted(adopt.group))
      const { entry, record: { epoch, files, members, mesh } } = yield* registry.adopt({ ...adopt, kept: false })
      yield* note(entry)
      const found = yield* Effect.mapError(workers.inherit(adopt.group, entry.secret, entry.replace), notAdopted(adopt.group))
      const settled = yield* Effect.forEach(files, (each) => QueueFiles.leftBy(each, found.workers.map(({ pid }) => pid)))
      // What an agent knew that is lost was recorded, too.
      const recorded = members.map(({ id, incarnation }) => ({ member: id, incarnation }))
      return {
        secret: entry.secret,
        driver: found.driver,
        epoch,
        shape: mesh,
        members,
        workers: found.workers.map((orphan) => ({ ...orphan, process: Effect.andThen(entry.keep(orphan), orphan.process) })),
        lives: [...recorded, ...found.lives],
        settled: Effect.all(settled, { discard: true })
      }
    })
  }
}
