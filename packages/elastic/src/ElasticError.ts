/**
 * Every way that keeping a journal and changing a group's size can fail.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/**
 * The journal cannot be read or written. `reason` says what to expect: `full` and `damaged` are certain, nothing was written; after `unavailable` (a
 * connection lost, a file that cannot be opened or synced) it may have been.
 */
export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  /** What was to be done, in words: "record the activity commit of 3f…". */
  operation: Schema.String,
  reason: Schema.Literals(["full", "damaged", "unavailable"]),
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `could not ${this.operation}: ${this.issue}. ${this.advice}`
  }
}

/** One step of changing a group's size, in their order. */
export const Step = Schema.Literals(["validate", "prepare", "copy", "ready", "decide", "commit", "retire"])
export type Step = typeof Step.Type

/** A group could not do its part of a step. */
export class ResizeError extends Schema.TaggedError<ResizeError>()("ResizeError", {
  issue: Schema.String,
  advice: Schema.String,
  /** After the commit steps are tried again until they succeed; not so if there is no group left to try it with. */
  final: Schema.Boolean.pipe(Schema.withConstructorDefault(Effect.succeed(false)))
}) {
  override get message(): string {
    return `${this.issue}. ${this.advice}`
  }
}

/** Why an operation did not reach its target. */
export const Reason = Schema.TaggedUnion({
  /** The request does not fit the group, or the group could not do its part. */
  Refused: { issue: Schema.String },
  Cancelled: {},
  DeadlineExceeded: { millis: Schema.Finite },
  /** The driver that had begun it is gone, and had not come to the point of no return. */
  DriverLost: {},
  /** It could not be written down. */
  JournalFailed: { issue: Schema.String },
  /** A bug in the group's part. */
  Defect: { issue: Schema.String }
})
export type Reason = typeof Reason.Type

/** An operation did not reach its target. Unless it was `committed`, the membership before it serves on as if nothing had happened. */
export class ScaleFailed extends Schema.TaggedError<ScaleFailed>()("ScaleFailed", {
  operation: Schema.String,
  step: Step,
  committed: Schema.Boolean,
  reason: Reason
}) {
  override get message(): string {
    const after = this.committed ? "the group has failed" : "the old membership serves on"
    return `${this.operation} failed in ${this.step}: ${describe(this.reason)}; ${after}`
  }
}

const describe = (reason: Reason): string => {
  switch (reason._tag) {
    case "Cancelled":
      return "it was called off"
    case "DeadlineExceeded":
      return `it was not ready after ${reason.millis} ms`
    case "DriverLost":
      return "its driver is gone"
    default:
      return reason.issue
  }
}

/** Another operation is in the way: `active` is its id, which is this operation's own where it was begun with another request, or by a driver that is gone. */
export class ScaleConflict extends Schema.TaggedError<ScaleConflict>()("ScaleConflict", {
  operation: Schema.String,
  group: Schema.String,
  active: Schema.String,
  issue: Schema.String,
  advice: Schema.String
}) {
  override get message(): string {
    return `${this.operation} cannot begin on ${this.group}: ${this.issue}. ${this.advice}`
  }
}

/** Nobody has heard of an operation. */
export class OperationNotFound extends Schema.TaggedError<OperationNotFound>()("OperationNotFound", { operation: Schema.String }) {
  override get message(): string {
    return `there is no operation ${this.operation} in the journal`
  }
}

/** It is too late to call an operation off: it is past the point of no return, or has ended. */
export class CancelRefused extends Schema.TaggedError<CancelRefused>()("CancelRefused", {
  operation: Schema.String,
  state: Schema.Literals(["committing", "ended"])
}) {
  override get message(): string {
    return this.state === "ended"
      ? `${this.operation} has ended`
      : `${this.operation} is past the point of no return and is carried to its end`
  }
}
