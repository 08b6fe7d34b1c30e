/** What the words of simulated files are called, as `WIRE.md` has them. */
import * as Layout from "../../src/internal/layout.ts"
import { MappedMemory } from "../../src/internal/memory.ts"
import type { Geometry } from "../../src/internal/ring.ts"
import type { Purpose } from "./memory.ts"

export const kinds = ["", "group", "rank", "peers", "doorbell"] as const
export type Kind = typeof kinds[number]

/** Bytes of the rings of one run. */
export interface Sizes extends Layout.LaneSizes {
  readonly ring: number
  readonly ranks: number
}

export interface Labels {
  /** What the word at this index is called. */
  readonly words: ReadonlyMap<number, string>
  /** Names of the rings and the byte where each begins, in order. */
  readonly rings: ReadonlyArray<readonly [string, number]>
  /** What each word is for to the process that made the file, as far as it stands before the rings. */
  readonly makers: ReadonlyArray<Purpose>
  /** What it is for to any other process. */
  readonly others: ReadonlyArray<Purpose>
}

/** A memory to ask the layout about. */
const nowhere = new MappedMemory(new ArrayBuffer(0))

const ringWords = (name: string, { wantsRoom, written }: Geometry): Array<[number, string]> => [
  [written, `${name}.written`],
  [wantsRoom, `${name}.wantsRoom`]
]

const laneWords = (name: string, lane: Layout.Lane): Array<[number, string]> => [
  ...ringWords(name, lane.ring.geometry),
  [lane.consumed.index, `${name}.consumed`]
]

const labels = (
  words: ReadonlyArray<readonly [number, string]>,
  rings: Labels["rings"],
  /** Which rings its maker reads. */
  reads: ReadonlyArray<string> = []
): Labels => {
  const named = new Map(words)
  const purposeOf = (word: number, isMaker: boolean): Purpose => {
    const [ring = "", name = ring] = named.get(word)?.split(".") ?? []
    if (name === "written" || name === "wantsRoom" || name === "parked") return name
    return name !== "consumed" ? "none" : reads.includes(ring) === isMaker ? "own consumed" : "other's consumed"
  }
  const length = Math.max(-1, ...named.keys()) + 1
  const purposes = [true, false].map((isMaker) => Array.from({ length }, (_, word) => purposeOf(word, isMaker)))
  return { words: named, rings, makers: purposes[0]!, others: purposes[1]! }
}

const make = (sizes: Sizes): Record<Kind, Labels> => {
  const ring = Layout.group.ring(nowhere, sizes.ring, sizes.ranks)
  const lanes = {
    control: Layout.rank.control(nowhere, sizes),
    private: Layout.rank.private(nowhere, sizes),
    reply: Layout.rank.reply(nowhere, sizes)
  }
  const toRanks = Array.from({ length: sizes.ranks }, (_, to) => Layout.peers.lane(nowhere, sizes.ranks, sizes.reply, to))
  return {
    "": labels([], []),
    doorbell: labels([], []),
    group: labels(
      [[Layout.group.driverParked, "driver.parked"], [Layout.group.processes, "processes"], ...ringWords("ring", ring.geometry)],
      [["ring", ring.geometry.data]]
    ),
    rank: labels(
      [
        [Layout.rank.state, "state"],
        [Layout.rank.parked, "worker.parked"],
        [Layout.rank.consumed, "ring.consumed"],
        ...Object.entries(lanes).flatMap(([name, lane]) => laneWords(name, lane))
      ],
      Object.entries(lanes).map(([name, lane]) => [name, lane.ring.geometry.data] as const),
      ["reply"]
    ),
    peers: labels(
      [[Layout.peers.parked, "peer.parked"], ...toRanks.flatMap((lane, to) => laneWords(`to${to}`, lane))],
      toRanks.map((lane, to) => [`to${to}`, lane.ring.geometry.data] as const)
    )
  }
}

const made = new Map<string, Record<Kind, Labels>>()

/** By the kind of a file. */
export const labelsOf = (sizes: Sizes): Record<Kind, Labels> => {
  const key = `${sizes.ranks} ${sizes.ring} ${sizes.reply}`
  const present = made.get(key) ?? make(sizes)
  made.set(key, present)
  return present
}
