/**
 * A worker process: reads who it is from standard input, serves its entry, and ends
 * - in order, when it is told to (SIGTERM) or its driver closed its lanes, or whoever started it its standard input: finalizers run, for at most the grace;
 * - at once, when whoever started it died;
 * - as Node ends it, with the stack on standard error and exit code 1, when something was thrown that nobody caught.
 */
import { Claims } from "@phalanx/core/Claim"
import { FlightRecorder } from "@phalanx/core/FlightRecorder"
import * as Worker from "@phalanx/core/Worker"
import * as FlightRecording from "@phalanx/queue/FlightRecording"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { writeSync } from "node:fs"
import * as lastWords from "./lastWords.ts"
import * as lineReader from "./lineReader.ts"
import * as Proof from "./proof.ts"
import { aboutClaim, ClaimLine, SpawnLine } from "./spawnLine.ts"
import * as transports from "./transports.ts"

const input = lineReader.make(process.stdin)

/** Hands on what another driver proves to claim. */
const claimsOf = (secret: string): Claims => (hear) =>
  input.each((line) => {
    const claimed = Schema.decodeUnknownExit(ClaimLine)(line)
    if (claimed._tag === "Failure") return
    const { claim, proof } = claimed.value
    if (Proof.holds(proof, secret, aboutClaim(claim))) hear(claim)
  })

lastWords.listen()
let grace = 2000

const main = Effect.gen(function*() {
  const first = yield* Effect.callback<string>((resume) => input.next((line) => resume(Effect.succeed(line))))
  const line = yield* Schema.decodeUnknownEffect(SpawnLine)(first)
  const { identity, node } = line
  grace = line.grace
  process.title = `phalanx ${identity.group} rank ${identity.rank}`
  yield* Worker.run(new URL(line.entry), identity, node).pipe(
    Effect.provide(transports.layer(identity.handle.transport, line.queues)),
    Effect.provideService(FlightRecorder, line.flight === undefined ? () => {} : FlightRecording.open(line.flight)),
    Effect.provideService(Claims, line.kept === true ? claimsOf(identity.secret) : undefined),
    // The driver has been told why and is about to end this process: an exit code would only race with that news.
    Effect.catchTag("SpawnError", (error) => Effect.delay(Effect.fail(error), grace))
  )
})

let told = false
const end = (exit: Exit.Exit<void, unknown>): never => {
  // The number by which shells know a process that a SIGTERM ended. Dying of the signal itself would skip what Node writes at exit.
  if (told) process.exit(143)
  if (exit._tag === "Success" || Cause.hasInterruptsOnly(exit.cause)) process.exit(0)
  writeSync(2, `${Cause.pretty(exit.cause)}\n`)
  process.exit(1)
}

const fiber = Effect.runFork(main)
fiber.addObserver(end)

const leave = (): void => {
  setTimeout(() => process.kill(process.pid, "SIGKILL"), grace)
  fiber.interruptUnsafe()
}
process.on("SIGTERM", () => {
  if (told) return
  told = true
  leave()
})
process.stdin.once("close", leave)
