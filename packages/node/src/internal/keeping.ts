/**
 * What a group's keeper and its driver say to each other: lines of JSON over a socket that only this user reaches. First each proves to the
 * other that it knows the group's secret; what either says besides goes to nobody else.
 */
import { FlightEvent } from "@phalanx/core/FlightRecorder"
import { Identity } from "@phalanx/core/Identity"
import { Death, Reason, SpawnError } from "@phalanx/core/WorkerError"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Crypto from "node:crypto"
import type * as Net from "node:net"
import { ClaimLine, SpawnLine } from "./spawnLine.ts"

/** The file of its socket, beside the group's record. */
export const socketName = "keeper.sock"

const Millis = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const Nonce = Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/))
const Proof = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))

/** The first line of a keeper's standard input. */
export const Setup = Schema.fromJsonString(Schema.Struct({
  /** The group's entry in the registry. */
  folder: Schema.String,
  group: Schema.String,
  secret: Schema.String,
  /** How long it waits for a driver. */
  leaseMillis: Millis
}))
export type Setup = typeof Setup.Type

/** The keeper's first word to whoever connects: what is to be proved about. */
export const Challenge = Schema.fromJsonString(Schema.Struct({ nonce: Nonce }))

/** A driver that takes the lease. */
export const Hello = Schema.fromJsonString(Schema.Struct({
  /** Which driver of the group it is. */
  generation: Schema.Natural,
  leaseMillis: Millis,
  nonce: Nonce,
  proof: Proof,
  /** How the workers that it is going to ask for are started. */
  options: Schema.Struct({
    queues: SpawnLine.to.fields.queues,
    /** Whether it wants to hear what they print. */
    prints: Schema.Boolean,
    grace: Millis,
    env: Schema.Record(Schema.String, Schema.String),
    execArgv: Schema.Array(Schema.String),
    node: Schema.String
  })
}))
export type Hello = typeof Hello.Type

/** One life of one member, which is what a keeper knows a worker by. */
const Worker = Schema.Struct({ member: Schema.Natural, incarnation: Schema.Natural })
export type Worker = typeof Worker.Type

export const keyOf = ({ incarnation, member }: Worker): string => `${member}.${incarnation}`

const End = Schema.Struct({
  death: Death,
  reason: Schema.optional(Reason),
  stderr: Schema.Array(Schema.String),
  flight: Schema.optional(Schema.Array(FlightEvent))
})

/** Why a worker is not started. */
const Refusal = Schema.Struct({ phase: SpawnError.fields.phase, issue: Schema.String, advice: Schema.String })
export type Refusal = typeof Refusal.Type

/** A worker that lives, or whose end no driver was told or has done with. */
const Kept = Schema.Struct({ ...Worker.fields, rank: Schema.Natural, pid: Schema.Int, end: Schema.optionalKey(End) })
export type Kept = typeof Kept.Type

/** The keeper's answer to a driver that takes the lease: its own proof, and whom it keeps; or that there is a later driver. */
export const Welcome = Schema.fromJsonString(Schema.Union([
  Schema.Struct({
    proof: Proof,
    workers: Schema.Array(Kept),
    /** Every member that it was ever asked for, with its latest incarnation. */
    lives: Schema.Array(Worker)
  }),
  Schema.Struct({ replacedBy: Schema.Natural })
]))

/** What a driver asks for. `ask` is the number of a question that is answered. */
export const FromDriver = Schema.fromJsonString(Schema.TaggedUnion({
  Renew: {},
  Spawn: { ask: Schema.Natural, entry: Schema.String, identity: Identity },
  Kill: { ask: Schema.Natural, worker: Worker, signal: Schema.Literals(["SIGTERM", "SIGKILL"]) },
  /** In order, and away with what is known of it. */
  Stop: { ask: Schema.Natural, worker: Worker },
  /** What a worker that lives has printed and done last. */
  Ask: { ask: Schema.Natural, worker: Worker },
  /** Hands a worker another driver's claim. */
  Claim: { ask: Schema.Natural, worker: Worker, ...ClaimLine.to.fields },
  /** All workers, and the keeper itself. */
  End: {}
}))
export type FromDriver = typeof FromDriver.Type

export const FromKeeper = Schema.fromJsonString(Schema.TaggedUnion({
  Renewed: {},
  Spawned: { ask: Schema.Natural, pid: Schema.Int },
  Refused: { ask: Schema.Natural, error: Refusal },
  /** Killed, stopped, or told. */
  Done: { ask: Schema.Natural },
  Said: { ask: Schema.Natural, stderr: Schema.Array(Schema.String), flight: Schema.Array(FlightEvent) },
  Ended: { worker: Worker, end: End },
  Printed: { rank: Schema.Natural, stream: Schema.Literals(["stdout", "stderr"]), text: Schema.String },
  /** A driver that was replaced has asked for something. */
  Fenced: {},
  /** Another driver has the lease; nothing that is asked here is heard any more. */
  Replaced: { generation: Schema.Natural }
}))
export type FromKeeper = typeof FromKeeper.Type

/** A line; plain data as it is. */
export const line = (message: object): string => `${JSON.stringify(message)}\n`

export const nonce = (): string => Crypto.randomBytes(16).toString("hex")

/** What `who` proves about to whoever chose the nonce. */
export const about = (who: "driver" | "keeper", nonce: string, generation: number): string => `${who} ${generation} ${nonce}`

/** Milliseconds that either has to take the other: a machine that has too much to do may hold both up. */
export const answerWithin = 10_000

/** No line of either is longer. */
const longest = 16 * 1024 * 1024

/** Calls `hear` with every line. It answers whether it could make sense of it; the socket of somebody who talks nonsense is destroyed. */
export const listen = (socket: Net.Socket, hear: (line: string) => boolean): void => {
  let rest = ""
  socket.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n")
    rest = lines.pop()!
    if (!lines.every((line) => socket.destroyed || hear(line)) || rest.length > longest) socket.destroy()
  })
}

/** What a line says; `undefined` if it is none of this schema. */
export const reader = <A>(schema: Schema.Codec<A, string>): (line: string) => A | undefined => {
  const decode = Schema.decodeUnknownExit(schema)
  return (line) => {
    const exit = decode(line)
    return Exit.isSuccess(exit) ? exit.value : undefined
  }
}
