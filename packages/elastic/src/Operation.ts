/**
 * What there is to know of an operation while it runs and afterwards.
 */
import * as Schema from "effect/Schema"
import { ScaleFailed, Step } from "./ElasticError.ts"
import { Progress, Request, Serving } from "./Resizable.ts"

/** A step that has ended; times in milliseconds since 1970. */
export const StepTime = Schema.Struct({ step: Step, began: Schema.Int, ended: Schema.Int })
export type StepTime = typeof StepTime.Type

/** An operation that has reached its target. */
export const Scaled = Schema.Struct({
  operation: Schema.String,
  /** False if the group had the shape already; then nothing was done. */
  changed: Schema.Boolean,
  from: Serving,
  to: Serving,
  /** In the order in which they ended. */
  steps: Schema.Array(StepTime),
  /** How long no token was written, in milliseconds; 0 if the driver that had committed did not come to write it down. */
  pauseMillis: Schema.Finite
})
export type Scaled = typeof Scaled.Type

/** How an operation stands. */
export const Status = Schema.Struct({
  operation: Schema.String,
  group: Schema.String,
  request: Request,
  from: Serving,
  /** `rollingBack`: on its way to the membership before. `failed` is the end of that, or a group that failed after the commit. */
  state: Schema.Literals(["running", "rollingBack", "done", "failed"]),
  /** Past the point of no return. */
  committed: Schema.Boolean,
  /** The step that runs, where this process runs it. */
  step: Schema.optionalKey(Step),
  progress: Schema.optionalKey(Progress),
  /** What keeps the step from ending, which is tried again. */
  trouble: Schema.optionalKey(Schema.String),
  /** The steps that have ended. */
  steps: Schema.Array(StepTime),
  result: Schema.optionalKey(Scaled),
  failure: Schema.optionalKey(ScaleFailed)
})
export type Status = typeof Status.Type
