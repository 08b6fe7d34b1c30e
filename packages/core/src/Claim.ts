/**
 * How a worker that outlives its driver hears of another one. For those who write a `Cluster` whose workers do: what runs the worker provides `Claims`.
 */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import { Handle } from "./MessageQueues.ts"

/** What a new driver has a worker told. Whoever hands it on answers for it. */
export const Claim = Schema.Struct({
  /** Which driver of the group it is; a worker that has heard this one or a later one does nothing. */
  driver: Schema.Natural,
  /** Where it is to attach. */
  handle: Handle
})
export type Claim = typeof Claim.Type

/** Has every claim on the worker told to `hear`. */
export type Claims = (hear: (claim: Claim) => void) => void

/** By what way claims come. `undefined`, the default: by none, and a worker that has lost its driver ends. */
export const Claims: Context.Reference<Claims | undefined> = Context.Reference<Claims | undefined>("@phalanx/core/Claims", {
  defaultValue: () => undefined
})
