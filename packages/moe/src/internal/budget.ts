/** For how many requests a rank has memory, and what ranks agree on. */
import type * as Worker from "@phalanx/core/Worker"
import { freemem } from "node:os"
import type { Engine } from "../Engine.ts"
import type { Description } from "../Moe.ts"

/** What a rank takes at most, unless it was told. */
export const most = 32
/** Of the memory that is free; the rest is for what steps need themselves, and for others on the machine. */
const share = 0.5

/** Bytes that the machine has left, or the control group of this process allows, whichever is less. */
const free = (): number => Math.min(freemem(), process.availableMemory())

/** What a rank holds now. `told`: how many `requests` it takes was said, whatever memory there is. */
export const describe = (
  { node, rank }: Worker.Self["Service"],
  { config, kvBytes, stats }: Engine,
  { requests, told }: { readonly requests: number; readonly told: boolean }
): Description => {
  const { bytesRead, cacheBytes, experts, memory: memoryBytes } = stats()
  const held = { rank, node, pid: process.pid, experts: experts[0]!, bytesRead, memoryBytes, requests }
  return told ? held : { ...held, memory: { free: free(), taken: cacheBytes, request: config.context * kvBytes } }
}

/** For how many requests each rank has room: as many as the poorest, at least one. Ranks of one machine share what it has left. */
export const agree = (ranks: ReadonlyArray<Pick<Description, "node" | "requests" | "memory">>): number =>
  Math.max(
    1,
    Math.min(...ranks.map(({ memory, node, requests }) => {
      if (memory === undefined) return requests
      const beside = ranks.filter((rank) => rank.node === node).length
      return Math.min(requests, Math.floor((memory.taken + share * memory.free / beside) / memory.request))
    }))
  )
