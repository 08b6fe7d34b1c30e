/**
 * The ranks of a model as a service: what `Generator`, `ElasticRanks` and `Rebalance` work on.
 */
import type { AdoptError } from "@phalanx/core/AdoptError"
import type * as Cluster from "@phalanx/core/Cluster"
import type { QueueError } from "@phalanx/core/QueueError"
import type { SpawnError } from "@phalanx/core/WorkerError"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Moe from "./Moe.ts"

/** A mesh of `dp` × `tp`. */
export class Ranks extends Context.Service<Ranks, WorkerGroup.WorkerGroup<typeof Moe.Moe, "dp" | "tp">>()("@phalanx/moe/Ranks") {}

interface Entry {
  /** Default: `Moe.entry()`, the model that ships with the package. */
  readonly entry?: Cluster.Entry<typeof Moe.Moe> | undefined
}

/** As of `WorkerGroup`. The default of `name` is `moe`. */
export interface Options extends Omit<WorkerGroup.Options<typeof Moe.Moe, "dp" | "tp">, "entry">, Entry {}

/** As of `WorkerGroup.adopt`. */
export interface AdoptOptions extends Omit<WorkerGroup.AdoptOptions<typeof Moe.Moe, "dp" | "tp">, "entry">, Entry {}

/** Starts ranks, and ends them with the layer. */
export const layer = (
  { entry = Moe.entry(), name = "moe", ...options }: Options
): Layer.Layer<Ranks, SpawnError | QueueError, WorkerGroup.Requirements<typeof Moe.Moe>> =>
  Layer.effect(Ranks, WorkerGroup.make(Moe.Moe, { ...options, entry, name }))

/** Takes over ranks whose driver is gone; `Generator.layerAdopted` goes on with what they were writing. */
export const layerAdopted = (
  { entry = Moe.entry(), ...options }: AdoptOptions
): Layer.Layer<Ranks, AdoptError | QueueError, WorkerGroup.Requirements<typeof Moe.Moe>> =>
  Layer.effect(Ranks, WorkerGroup.adopt(Moe.Moe, { ...options, entry }))
