import * as Mesh from "@phalanx/core/Mesh"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import type * as RayCluster from "@phalanx/ray/RayCluster"
import { Effect, Layer } from "effect"
import { join } from "node:path"

/** The group as every driver of it declares it; `dp` is where it begins. */
export const options = (dp: number, capacity: number) =>
  ({
    mesh: Mesh.make({ dp, tp: 1 }),
    capacity,
    entry: Moe.entry()
  }) satisfies WorkerGroup.Options<typeof Moe.Moe, "dp" | "tp">

/** A cluster of Ray's. Only who asks for one loads it. */
export const ray = (options?: RayCluster.Options) =>
  Layer.unwrap(Effect.map(Effect.promise(() => import("@phalanx/ray/RayCluster")), ({ layer }) => Layer.orDie(layer(options))))

/** Where a group that outlives its drivers has its workers, its record and its operations: on this machine, or on the Ray cluster that the environment names. */
export const cluster = (folder: string, kind = "node") => {
  const shared = { registry: join(folder, "registry"), folder, output: "ignore" } as const
  return kind === "ray"
    ? ray({ ...shared, detachedFor: "1 minute" })
    : NodeCluster.layerWith({ ...shared, keeper: { lease: "1 minute" } })
}
export const journalOf = (folder: string): string => join(folder, "journal.sqlite")
export const operations = (folder: string) => Elastic.layerSqlite({ filename: journalOf(folder), synchronous: "NORMAL" })

/** What a driver says of itself, a line of JSON each, to whoever has started it. */
export type Line =
  | { readonly group: string; readonly pids: ReadonlyArray<number | undefined> }
  /** A request that its ranks have. */
  | { readonly accepted: string }
  /** One more token of the n-th request has been read, so many milliseconds after 1970. */
  | { readonly token: number; readonly at: number }
  /** When a step's replies were in. */
  | { readonly step: number }
