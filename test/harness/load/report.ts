/**
 * What a driver under load says, one line of JSON each, on a pipe that the ledger reads. It writes synchronously: what a call is going to ask is
 * with the kernel before the call is made.
 */
import { writeSync } from "node:fs"

/** How one rank's part of a call ended, or all of it where `rank` is −1. */
export interface End {
  readonly rank: number
  /** The call that the answer says it is for. */
  readonly answers?: number
  /** Why there is no answer: the tag of a typed failure, `Interrupted` by the caller, or what should not have been. */
  readonly failed?: string
  /** The process whose death it was. */
  readonly pid?: number
}

export type Report =
  /** A call is about to be made. */
  | {
    readonly _tag: "Intent"
    readonly call: number
    readonly group: string
    readonly asks: string
    readonly ranks: ReadonlyArray<number>
    readonly at: number
  }
  /** It has ended, for its caller. */
  | { readonly _tag: "Outcome"; readonly call: number; readonly ends: ReadonlyArray<End>; readonly at: number }
  /** A rank serves again. */
  | { readonly _tag: "Restarted"; readonly group: string; readonly rank: number }
  /** A worker is gone, as its driver tells it. */
  | { readonly _tag: "Died"; readonly reason: string }
  /** How often ranks over shared memory were too slow for the others and were taken out of their way. */
  | { readonly _tag: "Lapped"; readonly times: number }
  /** Where a group listens. */
  | { readonly _tag: "Bound"; readonly group: string; readonly port: number }
  /** How far the driver has come. */
  | { readonly _tag: "Stage"; readonly stage: Stage }

/** `loaded`: everything but groups is there. `up`: all ranks serve. `quiet`: no call is open, all ranks serve. `ended`: the groups have ended. */
export type Stage = "loaded" | "up" | "quiet" | "ended"

/** What a driver is told to do. */
export type Order =
  | { readonly _tag: "Start" }
  | { readonly _tag: "Load" }
  | { readonly _tag: "BlockLoop"; readonly group: string; readonly rank: number; readonly millis: number; readonly spins: boolean }
  | { readonly _tag: "SlowReader"; readonly group: string; readonly rank: number; readonly millis: number; readonly nap: number }
  | { readonly _tag: "Quiet" }
  | { readonly _tag: "End" }

/** The descriptor that reports go to. */
export const pipe = 4

export const report = (report: Report): void => void writeSync(pipe, `${JSON.stringify(report)}\n`)

/** Milliseconds of a clock that all processes of the machine share. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6
