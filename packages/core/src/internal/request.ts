/**
 * What is known of calls while they are open: who made them, whom they went to, and who hears their answers.
 */
import type * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import type * as Mesh from "../Mesh.ts"
import type { Packed } from "../MessageQueues.ts"
import type { CallError } from "../WorkerError.ts"
import type { MethodCodec } from "./codec.ts"
import type { Member } from "./roster.ts"

export type CallExit = Exit.Exit<any, CallError<any>>

/** Whom the ranks of a call name, as it is when the call starts. */
export interface Audience {
  readonly mesh: Mesh.Any
  /** As far as the mesh has ever reached. */
  readonly reached: Mesh.Any
  /** In rank order. */
  readonly members: ReadonlyArray<Member>
  /** Of the collectives in which its handlers meet. */
  readonly generation: number
  /** Its calls restore state: they reach members that are not open to others yet. */
  readonly restores: boolean
}

/** Hears the answers of one call: exactly one `exit` for each index of its mesh. */
export interface Sink {
  readonly exit: (index: number, exit: CallExit) => void
  readonly chunk?: (index: number, values: ReadonlyArray<unknown>, ack: () => void) => void
  /** Every rank has been handed the request, or is known not to be. */
  readonly handed?: () => void
  /** After how many more replies it has something to tell; never: `Infinity`. Left out: after each. */
  readonly awaits?: () => number
}

/** What a rank may have open at once. */
export interface Window {
  readonly requests: number
  readonly bytes: number
}

/** A request that one member has not answered. */
export interface Open {
  /** Newer than those of all requests that its member was given before. */
  id: number
  readonly call: Call
  readonly index: number
  /** What to send; made anew if the group has gone on while it waited. */
  packed: Packed
  stamp: number
  admitted: boolean
  /** Nobody waits for the answer any more; the request keeps its place in the window until it comes. */
  abandoned: boolean
}

/** A call in progress. */
export interface Call {
  readonly method: string
  readonly codec: MethodCodec
  readonly context: Context.Context<never>
  readonly mesh: Mesh.Any
  readonly sink: Sink
  readonly audience: Audience
  /** The one rank whose reply is wanted, or −1: all. */
  readonly replyFrom: number
  /** Who was at the mesh's ranks when it was made. */
  readonly members: ReadonlyArray<Member | undefined>
  /** In milliseconds of the group's clock. */
  readonly made: number
  /** Ranks that have not been handed the request. */
  unsent: number
}

/** Hears every rank's answer to every call. */
export type Observer = (answer: {
  readonly method: string
  readonly rank: number
  readonly exit: CallExit
  /** From the call to this answer. */
  readonly millis: number
}) => void
