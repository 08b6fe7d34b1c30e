import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import { join } from "node:path"

/** The group as every driver of it declares it. */
export const options = {
  mesh: Mesh.make({ rank: 2 }),
  entry: new URL("./worker.ts", import.meta.url),
  supervision: Supervision.restart({ max: 3, per: "1 minute" }),
  capacity: 6
} as const

/** Where its workers, its record and its operations are. */
export const cluster = (folder: string) =>
  NodeCluster.layerWith({ registry: join(folder, "registry"), folder, keeper: { lease: "1 minute" }, output: "ignore" })
export const journalOf = (folder: string): string => join(folder, "operations", "journal.db")
export const operations = (folder: string) => Elastic.layerSqlite({ filename: journalOf(folder), synchronous: "NORMAL" })

/** What the first driver counts. */
export const keys: ReadonlyArray<string> = Array.from({ length: 50 }, (_, i) => `key ${i}`)
