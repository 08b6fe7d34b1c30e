/**
 * What a simulation knows: the driver's process, every worker that there was, and what must never be seen between them.
 */
import type { Claim } from "../../Claim.ts"
import type { End } from "../../Cluster.ts"
import type { Snapshot } from "../../Snapshot.ts"
import type { Fault } from "../../testing/Fault.ts"
import type { Process, World } from "../../testing/World.ts"
import type { Death } from "../../WorkerError.ts"
import type { Line } from "./network.ts"
import type { Asked } from "./watch.ts"

/** One life of one member: a simulated process that runs a worker. */
export interface Actor {
  readonly name: string
  /** Which group of this simulation it belongs to. */
  readonly act: number
  readonly member: number
  readonly rank: number
  readonly incarnation: number
  readonly pid: number
  readonly process: Process
  readonly born: number
  readonly line: Line
  ready: number | undefined
  gone: number | undefined
  /** When the driver had it known to be gone. */
  told: number | undefined
  /** The fault that may become its death. */
  doom: string | undefined
  /** Signals do not reach it before then. */
  deafUntil: number
  /** Since when its event loop computes without a pause, as its vitals show. */
  computesSince: number | undefined
  stderr: Array<string>
  /** How it ended. */
  end: End | undefined
  /** A driver has been told of its end. */
  reported: boolean
  /** Gives a claim to its process. */
  readonly claim: (claim: Claim) => void
  readonly die: (death: Death, stderr?: ReadonlyArray<string>) => void
}

/** What happens to a member's next start. */
export type Arm = { readonly _tag: "Spawn" } | { readonly _tag: "Setup" } | { readonly _tag: "Slow"; readonly millis: number }

export interface Stage {
  readonly world: World
  /** The present one: the last that was started. */
  driver: Process
  /** How many drivers have fallen. */
  falls: number
  /** The group whose driver has fallen, until another one has asked for it. */
  orphan: Orphan | undefined
  /** What was last written down of the present group, for whoever is to take it over: when a worker was started, and when one had ended. */
  record: Orphan["record"] | undefined
  /** The present group is one that was taken over. */
  adopting: boolean
  readonly window: { readonly requests: number; readonly bytes: number }
  readonly actors: Array<Actor>
  readonly arms: Map<number, Array<Arm>>
  /** Every request that was published. */
  readonly asked: Array<Asked>
  readonly violations: Array<string>
  /** The lines of a story, if one is told. */
  readonly story: Array<string> | undefined
  /** Fault and state of its victim → how often. */
  readonly coverage: Map<string, number>
  /** After how many milliseconds of silence a group finds a worker that is stopped, and one that computes; `undefined`: never. */
  readonly silence: { readonly frozen: number; readonly unresponsive: number } | undefined
  /** Faults that are not over. */
  lasting: number
  /** When the present group was ready. */
  opened: number
  /** The group is being closed. */
  ending: boolean
  /** The groups that there were. */
  acts: number
  /** Frames of another life that were handed to the driver of the present group; and those that may be, by how far it was with replacing their sender. */
  stale: number
  perhapsStale: number
  /** Milliseconds that the driver was kept from its turns. */
  stalled: number
  /** What faults there were, with the state in which they found their member. */
  readonly faults: Array<{ readonly millis: number; readonly fault: Fault; readonly state: string }>
  /** Lives that never began, because of a fault: `group.member.incarnation`. */
  readonly unborn: Set<string>
}

/** A group without a driver, as far as it was recorded. */
export interface Orphan {
  readonly group: string
  readonly secret: string
  readonly record: Pick<Snapshot, "epoch" | "mesh" | "members">
}

export const violate = (stage: Stage, sentence: string): void => {
  tell(stage, () => `!! ${sentence}`)
  if (stage.violations.length < 20 && !stage.violations.includes(sentence)) stage.violations.push(sentence)
}

/** Adds a line to the story, if one is told. */
export const tell = (stage: Stage, line: () => string): void => {
  stage.story?.push(`${stage.world.millis.toFixed(3).padStart(10)} ms  ${line()}`)
}

/** The present life of a member. */
export const actorOf = (stage: Stage, member: number): Actor | undefined =>
  stage.actors.findLast((actor) => actor.member === member && actor.act === stage.acts - 1)
