import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Phalanx from "./Phalanx.ts"

NodeRuntime.runMain(Effect.provide(Phalanx.run(process.argv.slice(2)), NodeServices.layer))
