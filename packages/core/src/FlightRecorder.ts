/**
 * What a worker did last, kept where it outlives the worker: `WorkerDied.flight` has it. A worker records what it hears, runs and answers through a reference that whoever runs it provides; by
 * default nothing is kept. Recording must cost well below a microsecond, since every request does it.
 */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"

/** What happened: see `FlightEvent`. Their order is part of the recorded form. */
export const kinds = [
  "import",
  "setup",
  "ready",
  "request",
  "begin",
  "answer",
  "failure",
  "rejection",
  "interrupt",
  "collective",
  "generation",
  "epoch",
  "claim",
  "stale"
] as const

/** One entry, for people who ask what a worker was doing. */
export const FlightEvent = Schema.Struct({
  /** Milliseconds since 1970, by the worker's clock. */
  at: Schema.Finite,
  /**
   * `import`, `setup` and `ready`: how far its start came. `request`: it has heard one; `begin`: its handler runs, after having waited for its turn; `answer`, `failure`, `rejection`: how it ended. `interrupt`: it
   * was told to stop one. `collective`: it began an operation. `generation`, `epoch`: another one begins. `claim`: another driver has taken it
   * over; `stale`: one has tried that there is a later one than.
   */
  kind: Schema.Literals(kinds),
  /** The call's number, or that of the generation, epoch or driver; 0 for a start. */
  id: Schema.Int,
  /** The method's name, or the operation's. */
  text: Schema.String
})
export type FlightEvent = typeof FlightEvent.Type

/** Keeps one entry. */
export type Record = (kind: FlightEvent["kind"], id: number, text: string) => void

/** Where a worker's entries go. Default: nowhere. */
export const FlightRecorder: Context.Reference<Record> = Context.Reference<Record>("@phalanx/core/FlightRecorder", {
  defaultValue: () => () => {}
})
