/**
 * What a worker's process is started with and how it is heard, wherever it runs: for those who write a cluster that starts such processes
 * by other means than this machine's own.
 */
import type { Claim } from "@phalanx/core/Claim"
import type { Identity, Vitals } from "@phalanx/core/Cluster"
import type { SpawnError } from "@phalanx/core/WorkerError"
import * as Schema from "effect/Schema"
import { existsSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import * as listener from "./internal/listener.ts"
import * as output from "./internal/output.ts"
import * as Proof from "./internal/proof.ts"
import { aboutClaim, SpawnLine } from "./internal/spawnLine.ts"
import { read as readVitals } from "./internal/vitals.ts"

/** What a worker is told on the first line of its standard input, as JSON; nothing of it is on a command line. */
export type Setup = SpawnLine

// A young generation of V8's own choice grows by 20 MB in the first thousand calls, and makes them no cheaper.
const nodeFlags: ReadonlyArray<string> = ["--max-semi-space-size=4"]

/** Where ranks outnumber processors, threads that help a collector take their time from other ranks. */
const flagsIn = (ranks: number): ReadonlyArray<string> =>
  ranks < availableParallelism() ? nodeFlags : [...nodeFlags, "--single-threaded-gc"]

const sizeOf = (shape: Identity["shape"]): number => Object.values(shape).reduce((product, size) => product * size, 1)

const bootstrap = fileURLToPath(new URL("./internal/bootstrap.mjs", import.meta.url))

/** The command that runs a worker: who reads the list of processes sees its group and rank, and nothing that is secret. */
export const command = (options: {
  readonly identity: Identity
  /** The path of Node. */
  readonly node: string
  readonly execArgv: ReadonlyArray<string>
  /** The process that starts the worker, which dies with it. Left out, whoever starts it adds its number as the last word. */
  readonly parent?: number | undefined
  /** How many ranks share its machine. Default: all of the group. */
  readonly ranks?: number | undefined
}): ReadonlyArray<string> => {
  const { group, incarnation, rank, shape } = options.identity
  return [
    options.node,
    ...flagsIn(options.ranks ?? sizeOf(shape)),
    ...options.execArgv,
    bootstrap,
    ...["phalanx", group, "rank", rank, "incarnation", incarnation, "of", ...(options.parent === undefined ? [] : [options.parent])].map(
      String
    )
  ]
}

const encodeLine = Schema.encodeSync(SpawnLine)

/** A setup as it is written, with its line break. */
export const encode = (setup: Setup): string => `${encodeLine(setup)}\n`

/** Another driver's claim, as it is written to the standard input of a worker whose setup says `kept`; without a line break. */
export const encodeClaim = (secret: string, claim: Claim): string => JSON.stringify({ claim, proof: Proof.of(secret, aboutClaim(claim)) })

/** One line that a worker printed, with who said it. */
export type Line = output.Line

/** On this process's own streams, with who said it. */
export const inherit: (line: Line) => void = output.inherit

/** Hears one worker: makes lines of what it prints, keeps the last 20 of standard error, and knows how it has ended. */
export type Listener = listener.Listener

/** Hears a worker of a group; `print` gets its lines one by one. */
export const listen: (group: string, rank: number, print: ((line: Line) => void) | undefined) => Listener = listener.make

/** How a worker's process is, from what `/proc/PID/stat` of its machine says; an empty text if there is no such process. */
export const vitals: (stat: string) => Vitals = readVitals

/** How many of a worker's last doings are told of its death. */
export const flightEntries = 64

/** Takes the text of one stream in pieces, as they come; `flush` hands on what is left without a line break. */
export type Splitter = output.Splitter

/** Makes lines of pieces of text. */
export const splitter: (onLine: (text: string) => void) => Splitter = output.splitter

/** Keeps the last lines pushed, so many of them. */
export const makeTail = output.makeTail

/** Why a worker is not started. */
export type Refusal = Pick<SpawnError, "phase" | "issue" | "advice">

/** Why an entry cannot be run by a process of its own, if it can be seen from here. */
export const refusal = (entry: unknown): Refusal | undefined => {
  if (!(entry instanceof URL)) {
    return {
      phase: "start",
      issue: "a value of this process cannot be handed to another one",
      advice: "Give the URL of the module that exports it by default: new URL(\"./worker.ts\", import.meta.url)"
    }
  }
  if (entry.protocol === "file:" && !existsSync(entry)) {
    return {
      phase: "import",
      issue: "there is no such file",
      advice: "new URL(\"./worker.ts\", import.meta.url) is relative to the module that it stands in"
    }
  }
  return undefined
}
