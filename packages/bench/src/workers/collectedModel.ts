/** A rank of the language model that collects its garbage on SIGUSR2. */
import worker from "@phalanx/moe/worker"
import * as Effect from "effect/Effect"
import process from "node:process"
import * as Resident from "../Resident.ts"

process.on("SIGUSR2", () => Effect.runFork(Resident.afterCollection))

export default worker
