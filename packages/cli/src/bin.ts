import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Phalanx from "./Phalanx.ts"

// Whoever reads the output may stop, or close the terminal: then there is nothing left to do, and everything is ended in order.
const gone = Effect.callback<void>((resume) => {
  process.stdout.on("error", () => resume(Effect.void))
  process.once("SIGHUP", () => resume(Effect.interrupt))
})

// What nobody reads is no loss, but what could not be written is.
const written = Effect.callback<void>((resume) => {
  process.stdout.write("", () => {
    const cause = process.stdout.errored as NodeJS.ErrnoException | null
    if (cause === null || cause.code === "EPIPE") return resume(Effect.void)
    process.exitCode = 1
    resume(Console.error(`Standard output lacks a part of the answer: ${cause.message}`))
  })
})

// Standard output belongs to the command's answer.
const log = Logger.layer([Logger.withConsoleError(Logger.formatSimple)])

Phalanx.run(process.argv.slice(2)).pipe(
  Effect.raceFirst(gone),
  Effect.andThen(written),
  Effect.provide([NodeServices.layer, log]),
  NodeRuntime.runMain
)
