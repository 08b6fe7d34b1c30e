/** What vLLM 0.33.0's own code computes, run with a sort that keeps the order of equals. */
import { readFileSync } from "node:fs"

type Rows = ReadonlyArray<ReadonlyArray<number>>

/** The arguments of upstream's `rebalance_experts`. */
interface Inputs {
  readonly weight: Rows
  readonly numReplicas: number
  readonly numGroups: number
  readonly numNodes: number
  readonly numRanks: number
  readonly oldPhy2log: Rows | null
}

interface Vectors {
  readonly rebalance: ReadonlyArray<{
    readonly name: string
    readonly inputs: Inputs
    readonly path: "hierarchical" | "global"
    readonly outputs: { readonly phy2log: Rows; readonly logcnt: Rows; readonly log2phy: ReadonlyArray<Rows> }
    readonly balancednessBefore: number | null
    readonly balancednessAfter: number
  }>
  readonly primitives: {
    readonly balancedPacking: ReadonlyArray<{ weight: Rows; numPacks: number; packIndex: Rows; rankInPack: Rows }>
    readonly replicateExperts: ReadonlyArray<{ weight: Rows; numPhy: number; phy2log: Rows; logcnt: Rows }>
    readonly preserveIntragpuSlots: ReadonlyArray<{ numRanks: number; oldPhy2log: Rows; newPhy2log: Rows; result: Rows }>
    readonly computeLogicalMaps: ReadonlyArray<{ phy2log: Rows; numLogical: number; log2phy: ReadonlyArray<Rows>; logcnt: Rows }>
  }
  readonly migrationBatches: ReadonlyArray<{
    readonly name: string
    readonly numLocalExperts: number
    readonly old: ReadonlyArray<number>
    readonly new: ReadonlyArray<number>
    readonly batches: ReadonlyArray<ReadonlyArray<{ readonly src: number; readonly dst: number; readonly experts: ReadonlyArray<number> }>>
  }>
  readonly rankMapping: ReadonlyArray<{
    readonly kind: "scale-up" | "scale-down"
    readonly rankMapping: { readonly [rank: string]: number }
    readonly newEpSize?: number
    readonly oldPhy2log?: Rows
    readonly newPhy2log?: Rows
    readonly mapped: Rows
  }>
  readonly weightSenderPairing: ReadonlyArray<{
    readonly oldDp: number
    readonly newDp: number
    readonly receiversBySender: { readonly [sender: string]: ReadonlyArray<number> }
  }>
  readonly redundancyFormula: ReadonlyArray<{
    readonly numExperts: number
    readonly numRedundant: number
    readonly curDp: number
    readonly newDp: number
    readonly newRedundant: number | null
    readonly rejected: boolean
    readonly minimum: number
  }>
  readonly failureRedistribution: ReadonlyArray<{
    readonly name: string
    readonly inputs: { phy2log: Rows; numLogical: number; numLocalExperts: number; deadDpRanks: ReadonlyArray<number>; tpSize: number }
    readonly deadEpRanks: ReadonlyArray<number>
    readonly outputs: { phy2log: Rows; reload: Rows; logcnt: Rows; log2phy: ReadonlyArray<Rows> }
  }>
}

export const vectors: Vectors = JSON.parse(readFileSync(new URL("./fixtures/eplb-vectors.json", import.meta.url), "utf8"))

/** Ids 0 … n−1. */
export const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)
