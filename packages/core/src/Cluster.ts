/**
 * Where workers run: starts, watches and kills them. The service is a seam: fibers here, processes in `@phalanx/node`, actors on other machines.
 * What they say to each other goes through `MessageQueues`.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type * as Scope from "effect/Scope"
import type { AdoptError } from "./AdoptError.ts"
import type { Claim } from "./Claim.ts"
import type { FlightEvent } from "./FlightRecorder.ts"
import { Identity } from "./Identity.ts"
import * as memory from "./internal/memoryCluster.ts"
import * as MessageQueues from "./MessageQueues.ts"
import type * as Worker from "./Worker.ts"
import type { Death, Reason, SpawnError } from "./WorkerError.ts"

export { Identity }

/** What to run: the URL of a module whose default export is a `Worker`, or (in one process) the worker itself. */
export type Entry<P extends RpcGroup.Any> = URL | Worker.Worker<P, unknown>

/** A worker to start. */
export interface Spawn {
  readonly entry: Entry<any>
  readonly identity: Identity
}

/** How a worker ended, with the last lines of its standard error (20 at most). */
export interface End {
  readonly death: Death
  /** Why, if more is known than the death says. */
  readonly reason?: Reason | undefined
  readonly stderr: ReadonlyArray<string>
  /** What it did last, if that was recorded. */
  readonly flight?: ReadonlyArray<FlightEvent> | undefined
}

/** How a worker's process is, as whoever started it sees it. */
export interface Vitals {
  /**
   * `running`: it runs, or would if a processor were free. `stopped`: it cannot run until somebody lets it (SIGSTOP, a debugger, a frozen container).
   * `unknown`: nobody can tell.
   */
  readonly state: "alive" | "running" | "stopped" | "gone" | "unknown"
  /** Processor time that it has used, in milliseconds. */
  readonly cpuMillis: number
}

/** A started worker. The scope it was spawned in stops it: SIGTERM, a grace of 2 s, SIGKILL. */
export interface Process {
  readonly node: string
  readonly pid: number | undefined
  /** Resolves once, when the worker is gone. */
  readonly end: Effect.Effect<End>
  /** The last lines of its standard error so far. */
  readonly stderr: Effect.Effect<ReadonlyArray<string>>
  /** What it has done last, if that is recorded. */
  readonly flight?: Effect.Effect<ReadonlyArray<FlightEvent>> | undefined
  /** Tells a frozen process from one that computes. `undefined` where a worker cannot be silent by itself: then it gets no heartbeat. */
  readonly vitals?: Effect.Effect<Vitals> | undefined
  /** Sends a signal; resolves when it is sent. */
  readonly kill: (signal: "SIGTERM" | "SIGKILL") => Effect.Effect<void>
}

/** A group to take over. */
export interface Adopt {
  /** Its name, with its random part. */
  readonly group: string
  /** The names of its mesh's dimensions, in order. */
  readonly dimensions: ReadonlyArray<string>
  /** Called when a former driver, which lives after all, asks for something. It gets nothing. */
  readonly fenced: () => void
}

/** A group whose driver is gone, and which has this process for its driver now, as far as can be known without asking its workers. */
export interface Adopted {
  readonly secret: string
  /** Which driver of the group this is. */
  readonly driver: number
  /** What was recorded of it last. Rank −1: in none of that epoch. */
  readonly epoch: number
  readonly shape: Readonly<Record<string, number>>
  readonly members: ReadonlyArray<{ readonly id: number; readonly rank: number }>
  /** Workers that live, or whose end nobody has been told. */
  readonly workers: ReadonlyArray<Orphan>
  /** Every member that there ever was, with its latest incarnation. */
  readonly lives: ReadonlyArray<{ readonly member: number; readonly incarnation: number }>
  /** What the former driver has left of its queues can go: all workers that live have others. */
  readonly settled: Effect.Effect<void>
}

/** A worker without a driver. */
export interface Orphan {
  readonly member: number
  readonly incarnation: number
  /** With which it was started. */
  readonly rank: number
  /** The scope stops it, as if it had been spawned there. */
  readonly process: Effect.Effect<Process, never, Scope.Scope>
  /** Has the worker told of this driver; it answers on the lanes of the handle. */
  readonly claim: (claim: Claim) => Effect.Effect<void>
}

/** Starts, watches and kills workers. */
export class Cluster extends Context.Service<Cluster, {
  /** Starts a worker; that it serves is told on its reply lane. */
  readonly spawn: (options: Spawn) => Effect.Effect<Process, SpawnError, Scope.Scope>
  /**
   * Takes over a group whose driver is gone, until the scope closes, which ends it. One that is refused before anything is changed stays as it is. Left out where workers do not outlive
   * their driver.
   */
  readonly adopt?: ((adopt: Adopt) => Effect.Effect<Adopted, AdoptError, Scope.Scope>) | undefined
}>()("@phalanx/core/Cluster") {}

/** Every worker is a fiber of this process; frames go over whichever queues are given. */
export const layerFibers: Layer.Layer<Cluster, never, MessageQueues.MessageQueues> = Layer.effect(Cluster, memory.make)

/** Every worker is a fiber of this process, and every frame is handed over in memory. */
export const layerMemory: Layer.Layer<Cluster | MessageQueues.MessageQueues> = layerFibers.pipe(
  Layer.provideMerge(MessageQueues.layerMemory)
)
