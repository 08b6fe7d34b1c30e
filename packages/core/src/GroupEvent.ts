/**
 * What happens to a group, in the order in which its driver learnt of it.
 */
import * as Data from "effect/Data"
import type { WorkerDied } from "./WorkerError.ts"

/** One piece of news. */
export type GroupEvent = Data.TaggedEnum<{
  /** A rank serves for the first time. */
  Ready: { readonly rank: number; readonly incarnation: number }
  /** A worker is gone. */
  Died: { readonly died: WorkerDied }
  /** A rank serves again after `died`, its state restored if the group has a hook for that. */
  Restarted: { readonly rank: number; readonly incarnation: number; readonly died: WorkerDied }
  /** The group has another size: `left` are the member ids that it goes on without. */
  Resized: { readonly epoch: number; readonly shape: Readonly<Record<string, number>>; readonly left: ReadonlyArray<number> }
  /** The group has failed. */
  Escalated: { readonly died: WorkerDied }
  /** A rank computes but does not answer: the method it is in, if a call is open, and that call's age in milliseconds. Not a death yet. */
  Unresponsive: { readonly rank: number; readonly method: string | undefined; readonly ageMillis: number | undefined }
}>

/** Constructors and matchers: `GroupEvent.make.$match(event, { … })`. */
export const make = Data.taggedEnum<GroupEvent>()
