/** Whatever a cluster's groups do goes through here on its way, and into the registry: a group from before its first file is made, and its workers. */
import * as Cluster from "@phalanx/core/Cluster"
import { MessageQueues, QueueError } from "@phalanx/core/MessageQueues"
import { SpawnError } from "@phalanx/core/WorkerError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { hostname } from "node:os"
import { Registry } from "../Registry.ts"
import type * as keepers from "./keepers.ts"

/** The services given, with every group entered into the registry. `segments` is where shared memory lies; `spawnKept` starts workers that a keeper keeps. */
export const layer = (
  segments: string | undefined,
  spawnKept: keepers.Spawn | undefined
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
          const process = yield* spawnKept === undefined ? cluster.spawn(worker) : spawnKept(entry, worker)
          if (process.pid !== undefined) yield* entry.seat(worker, process.pid)
          return process
        })
      })
    ).pipe(Context.add(
      MessageQueues,
      MessageQueues.of({
        ...queues,
        open: Effect.fnUntraced(function*(options) {
          const { group, secret, snapshot } = options
          const entry = yield* Effect.mapError(
            registry.enter({ group, secret, segments, snapshot }),
            ({ advice, issue, operation, where }) => new QueueError({ operation, where, issue, advice })
          )
          const publisher = yield* queues.open(options)
          yield* entry.carriedBy(publisher.transport)
          return publisher
        })
      })
    ))
  }))
