/** Whatever a cluster's groups do goes through here on its way, and into the registry: a group from before its first file is made, and its workers. */
import { AdoptError } from "@phalanx/core/AdoptError"
import * as Cluster from "@phalanx/core/Cluster"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import { SpawnError } from "@phalanx/core/WorkerError"
import * as QueueFiles from "@phalanx/queue/QueueFiles"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hostname } from "node:os"
import { entering, Registry } from "../Registry.ts"
import type { Keepers } from "./keepers.ts"

/** The services given, with every group entered into the registry. `segments` is where shared memory lies; `keepers` have the workers, if there are any. */
export const layer = (
  segments: string | undefined,
  keepers: Keepers | undefined
): Layer.Layer<Cluster.Cluster | MessageQueues, never, Cluster.Cluster | MessageQueues | Registry> =>
  Layer.effectContext(Effect.gen(function*() {
    const cluster = yield* Cluster.Cluster
    const queues = yield* MessageQueues
    const registry = yield* Registry
    return Context.make(
      Cluster.Cluster,
      Cluster.Cluster.of({
        spawn: Effect.fnUntraced(function*(worker) {
          const { group, rank, secret } = worker.identity
          // Entered already, unless its queues are others than these.
          const entry = yield* Effect.mapError(registry.enter({ group, secret, segments }), ({ advice, issue, where }) =>
            new SpawnError({
              rank,
              node: hostname(),
              entry: worker.entry instanceof URL ? worker.entry.href : "a worker value",
              phase: "start",
              issue: `${where}: ${issue}`,
              advice,
              stderr: []
            }))
          const process = yield* keepers === undefined ? cluster.spawn(worker) : keepers.spawn(entry, worker)
          if (process.pid !== undefined) yield* entry.seat(worker, process.pid)
          return process
        }),
        adopt: keepers === undefined ? undefined : Effect.fnUntraced(function*(adopt) {
          const { entry, record: { epoch, files, keeper, members, mesh } } = yield* registry.adopt({ ...adopt, kept: true })
          const link = yield* Effect.mapError(
            keepers.adopt(entry, { keeper: keeper!, fenced: adopt.fenced }),
            ({ issue }) =>
              new AdoptError({
                group: adopt.group,
                reason: "late",
                issue: `its keeper has gone, or is about to: ${issue}`,
                advice: "Start it anew, and adopt within the lease of `keeper`"
              })
          )
          const living = link.orphans.flatMap(({ pid }) => pid)
          const settled = yield* Effect.forEach(files, (each) => QueueFiles.leftBy(each, living))
          return {
            secret: entry.secret,
            driver: entry.generation,
            epoch,
            shape: mesh,
            members,
            workers: link.orphans.map((orphan) => ({
              ...orphan,
              process: Effect.andThen(entry.keep(orphan), orphan.process)
            })),
            lives: link.lives,
            settled: Effect.all(settled, { discard: true })
          }
        })
      })
    ).pipe(Context.add(MessageQueues, yield* entering(queues, segments)))
  }))
