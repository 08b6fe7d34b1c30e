/**
 * One way of asking worker processes: Phalanx, or a rival. Each stands in a module of its own under `systems/`, whose default export is a
 * `System`, so that the harness treats all alike. A system runs in a driver process of its own: none pays for another's garbage or for what the
 * compiler learnt from another's calls.
 */
import type { Sampler } from "./Sampling.ts"

/** What is measured: so many workers, each given so many bytes in a call. */
export interface Setting {
  readonly workers: number
  readonly bytes: number
}

/** A system with its workers up and answering. */
export interface Running {
  /** The workers' processes; none where they are threads of the driver. */
  readonly pids: ReadonlyArray<number>
  /** Times calls to all workers at once; an answer that is not the payload's length is an error. */
  readonly sample: Sampler
  /** Makes the first worker's handler never return; resolves when the driver has been told that the worker is gone. */
  readonly hang?: () => Promise<void>
  /** Ends the workers; resolves when they are gone. */
  readonly stop: () => Promise<void>
}

/** What a module under `systems/` exports: how to get workers up. */
export interface System {
  /** Starts the workers; resolves when they can be asked. */
  readonly start: (setting: Setting) => Promise<Running>
}

/** Above so many bytes a payload is bytes, up to it a string: what each rival is fastest with. */
export const small = 4096

/** The payload of rivals that carry strings faster than bytes while they are short. */
export const text = (bytes: number): string => "x".repeat(bytes)

/** The payload as bytes. */
export const buffer = (bytes: number): Buffer => Buffer.alloc(bytes, 120)
