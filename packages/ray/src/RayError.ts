/** Why Ray cannot be used, or cannot do what it was asked for. */
import * as Schema from "effect/Schema"

/**
 * What is wrong.
 *
 * - `NoPython`: no interpreter that is new enough. `NoRay`: the one that was named has no Ray. `RayVersion`: a Ray that this is not made for.
 *   `NotInstalled`: the environment with Ray could not be made.
 * - `BadAddress`: not an address of Ray's control service. `Unreachable`: nobody listens there. `Silent`: it does not answer at all. `NotRay`: it is
 *   somebody else's.
 * - `Token`: the cluster's token is another one, or none was given. `NoRaylet`: the cluster has no node on this host. `Mismatch`: the cluster
 *   runs another version of Ray or Python.
 * - `NotStarted`: the bridge, or a cluster of one's own, ended before it was ready. `Lost`: the bridge or Ray's control service is gone.
 * - `NoGroup`: there is no such placement group. `Exists`: its name is taken. `Refused`: Ray would not do it, in its own words.
 */
export const Reason = Schema.Literals([
  "NoPython",
  "NoRay",
  "RayVersion",
  "NotInstalled",
  "BadAddress",
  "Unreachable",
  "Silent",
  "NotRay",
  "Token",
  "NoRaylet",
  "Mismatch",
  "NotStarted",
  "Lost",
  "NoGroup",
  "Exists",
  "Refused"
])
export type Reason = typeof Reason.Type

/** Ray cannot be used, or would not do what it was asked for. */
export class RayError extends Schema.TaggedError<RayError>()("RayError", {
  reason: Reason,
  /** What it is about: an address, an interpreter, a placement group. */
  where: Schema.String,
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.where}: ${this.issue}. ${this.advice}`
  }
}
