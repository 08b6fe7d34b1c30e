import type { RequestError } from "../Generator.ts"
import { mostResults } from "./books.ts"

/** Why a request cannot be had, without its id. */
export type Refusal = Pick<RequestError, "reason" | "issue" | "advice">

export const unknown: Refusal = {
  reason: "unknown",
  issue: `none is known by this id, or it has ended and its result, like all but the last ${mostResults}, has been dropped`,
  advice: "Ask for it anew"
}
export const taken: Refusal = {
  reason: "taken",
  issue: "it was asked for with another prompt or other options",
  advice: "Give another request another id"
}
export const cancelled: Refusal = { reason: "cancelled", issue: "it was called off", advice: "Ask for it anew, if it is wanted after all" }
export const paused: Refusal = {
  reason: "paused",
  issue: "the generator is paused, and takes no requests meanwhile",
  advice: "Ask again when it goes on"
}
export const aborted: Refusal = {
  reason: "aborted",
  issue: "all that was open was ended by a pause",
  advice: "Ask for it anew when the generator goes on"
}
