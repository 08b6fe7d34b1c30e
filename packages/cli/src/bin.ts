import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Phalanx from "./Phalanx.ts"

// Whoever reads the output may stop: then there is nothing left to do, and everything is ended in order.
const gone = Effect.callback<void>((resume) => {
  process.stdout.on("error", () => resume(Effect.void))
})

// Standard output belongs to the command's answer.
const log = Logger.layer([Logger.withConsoleError(Logger.formatSimple)])

NodeRuntime.runMain(Effect.provide(Effect.raceFirst(Phalanx.run(process.argv.slice(2)), gone), [NodeServices.layer, log]))
