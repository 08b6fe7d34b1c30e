/**
 * Every way a call, a start or a group can fail that is not the method's own error.
 */
import * as Data from "effect/Data"
import * as Schema from "effect/Schema"
import { FlightEvent } from "./FlightRecorder.ts"

/** How a worker was found to be gone. */
export const Death = Schema.TaggedUnion({
  /** It ended by itself. */
  Exited: { code: Schema.Int },
  /** A signal ended it. */
  Killed: { signal: Schema.String },
  /** Its connection is lost, or it sent bytes that are not a frame. */
  Disconnected: { issue: Schema.String },
  /** It answered no heartbeat for so long: stopped, or computing without end. */
  Silent: { millis: Schema.Finite, state: Schema.Literals(["frozen", "unresponsive", "replaced"]) },
  /** Its next incarnation could not be started. */
  Unstarted: { issue: Schema.String }
})
export type Death = typeof Death.Type

/** Why a worker is gone, as far as can be known. `sibling`: nothing was wrong with it; supervision took it along with another rank. `left`: nor with this one;
 * the group has another size and goes on without it. `replaced`: it may live, and has another driver. */
export const Reason = Schema.Literals([
  "exit",
  "signal",
  "out-of-memory",
  "uncaught-exception",
  "unhandled-rejection",
  "setup",
  "disconnected",
  "frozen",
  "unresponsive",
  "sibling",
  "left",
  "replaced"
])
export type Reason = typeof Reason.Type

/** The worker of one rank is gone; what it had been asked is not answered. */
export class WorkerDied extends Schema.TaggedError<WorkerDied>()("WorkerDied", {
  rank: Schema.Int,
  coordinates: Schema.Record(Schema.String, Schema.Int),
  incarnation: Schema.Int,
  node: Schema.String,
  pid: Schema.optionalKey(Schema.Int),
  death: Death,
  reason: Reason,
  /** The oldest call that it had been given and had not answered. */
  method: Schema.optionalKey(Schema.String),
  /** How long ago that call was made, in milliseconds. */
  ageMillis: Schema.optionalKey(Schema.Finite),
  /** The last lines of its standard error, 20 at most. */
  stderr: Schema.Array(Schema.String),
  /** What it did last, the oldest first, 64 entries at most; none where workers keep no record. */
  flight: Schema.Array(FlightEvent)
}) {
  override get message(): string {
    const at = Object.entries(this.coordinates).map(([name, coordinate]) => `${name} ${coordinate}`)
    const where = [...at, this.node, ...(this.pid === undefined ? [] : [`pid ${this.pid}`]), `incarnation ${this.incarnation}`].join(", ")
    const age = this.ageMillis === undefined ? "" : `, asked for ${Math.round(this.ageMillis)} ms ago`
    const doing = this.method === undefined ? "" : ` while it ran ${this.method}${age}`
    const tail = this.stderr.length === 0 ? "" : `\n  ${this.stderr.join("\n  ")}`
    const why = unsaid.has(this.reason) ? "" : ` (${this.reason})`
    return `rank ${this.rank} (${where}) is gone${doing}: ${describe(this.death)}${why}${tail}`
  }
}

/** Reasons that the death says already. */
const unsaid: ReadonlySet<Reason> = new Set(["exit", "signal", "disconnected", "frozen", "unresponsive"])

/** A death in words. */
export const describe = (death: Death): string => {
  switch (death._tag) {
    case "Exited":
      return `exit code ${death.code}`
    case "Killed":
      return death.signal
    case "Disconnected":
      return death.issue
    case "Silent":
      return `${death.state}, silent for ${Math.round(death.millis)} ms`
    case "Unstarted":
      return `not started again: ${death.issue}`
  }
}

/** No reply within the time given; the handler has been told to stop. */
export class CallTimeout extends Schema.TaggedError<CallTimeout>()("CallTimeout", { millis: Schema.Finite }) {
  override get message(): string {
    return `no reply within ${this.millis} ms`
  }
}

/** Payload, reply or method name do not fit: `side` tells who refused, `issue` what, where in the value, and what to do. */
export class CallRejected extends Schema.TaggedError<CallRejected>()("CallRejected", {
  side: Schema.Literals(["driver", "worker"]),
  issue: Schema.String
}) {
  override get message(): string {
    return `refused by the ${this.side}: ${this.issue}`
  }
}

/** The call was given up, though its caller did not ask for that. */
export class CallInterrupted extends Schema.TaggedError<CallInterrupted>()("CallInterrupted", {
  /** `worker`: it is shutting down, or the handler interrupted itself. `group`: its scope has closed here; it answers no call that is open or made later. */
  by: Schema.Literals(["worker", "group"])
}) {
  override get message(): string {
    return this.by === "worker" ? "given up by the worker" : "the group has ended: the scope that it was made in is closed"
  }
}

/** The handler died of a defect; the worker goes on. */
export class CallDefect extends Schema.TaggedError<CallDefect>()("CallDefect", { cause: Schema.Defect() }) {
  override get message(): string {
    return `the handler died: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/** What any call can fail with besides the method's error. */
export type Lost = WorkerDied | CallTimeout | CallRejected | CallInterrupted | CallDefect

/**
 * A call failed on one rank. `reason` is the method's error or what lost the reply, so that `Effect.catchReason("CallError", "WorkerDied", …)`
 * and `Effect.unwrapReason("CallError")` apply.
 */
export class CallError<out E = never> extends Data.TaggedError("CallError")<{
  readonly method: string
  readonly rank: number
  readonly reason: E | Lost
}> {
  override get message(): string {
    return `${this.method} failed on rank ${this.rank}: ${this.reason instanceof Error ? this.reason.message : String(this.reason)}`
  }
}

/** A worker could not be started, or was not ready in time. Nothing of it is left. */
export class SpawnError extends Schema.TaggedError<SpawnError>()("SpawnError", {
  rank: Schema.Int,
  node: Schema.String,
  /** The worker's module. */
  entry: Schema.String,
  /** What it was doing: `start` (the process), `import` (its module), `setup` (its layer), `ready` (none of these ended in time). */
  phase: Schema.Literals(["start", "import", "setup", "ready"]),
  issue: Schema.String,
  advice: Schema.String,
  /** The last lines of its standard error, 20 at most. */
  stderr: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const tail = this.stderr.length === 0 ? "" : `\n  ${this.stderr.join("\n  ")}`
    return `rank ${this.rank} on ${this.node} failed in ${this.phase} of ${this.entry}: ${this.issue}. ${this.advice}${tail}`
  }
}
