/**
 * The compiled parts that queues stand on, for whoever wants to know beforehand whether they load on this machine.
 */
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import { findPackageJSON } from "node:module"
import process from "node:process"
import { libc } from "./internal/libc.ts"

/** A part that loads. */
export interface Native {
  readonly name: "koffi" | "zeromq"
  readonly version: string
  /** What this build of it can do. */
  readonly abilities: string
  /** What this build of it lacks and the queues can do without, if anything. */
  readonly lacks: string | undefined
}

const load = (name: Native["name"], probe: () => Promise<Pick<Native, "abilities" | "lacks">>): Effect.Effect<Native, QueueError> =>
  Effect.tryPromise({
    try: async () => {
      const { version } = JSON.parse(readFileSync(findPackageJSON(name, import.meta.url)!, "utf8"))
      return { name, version, ...await probe() }
    },
    catch: (cause) =>
      new QueueError({
        operation: "load",
        where: name,
        issue: cause instanceof Error ? cause.message : String(cause),
        advice:
          `Install the dependencies again on this machine: there is a binary of ${name} for each platform, and not for ${process.platform} `
          + `${process.arch} if that does not help`
      })
  })

/** Shared memory, locks, and the tie to a parent's life. */
export const koffi: Effect.Effect<Native, QueueError> = load("koffi", async () => {
  libc()
  return { abilities: "calls the C library", lacks: undefined }
})

/** TCP and Unix sockets. */
export const zeromq: Effect.Effect<Native, QueueError> = load("zeromq", async () => {
  const { capability, version } = await import("zeromq")
  const curve = capability.curve === true
  return {
    abilities: `ZeroMQ ${version}${curve ? ", encrypts with CURVE" : ""}`,
    lacks: curve ? undefined : "CURVE: TCP on loopback addresses only, since it cannot encrypt"
  }
})
