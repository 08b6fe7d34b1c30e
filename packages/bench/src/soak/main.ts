/** `pnpm soak --minutes 10`: writes the plot, and the section of `RESULTS.md`. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import process from "node:process"
import { fileURLToPath } from "node:url"
import * as Section from "../Section.ts"
import * as Soak from "../Soak.ts"

const file = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))

const soak = Command.make(
  "soak",
  {
    minutes: Flag.Finite("minutes").pipe(Flag.withDescription("for how long"), Flag.withDefault(10)),
    json: Flag.Boolean("json").pipe(Flag.withDescription("the last line of the output is the summary as JSON"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, minutes }) {
    const { samples, summary } = yield* Soak.run(minutes, ({ driver, minute, worker }) => {
      process.stderr.write(`${minute.toFixed(2)} min  driver ${(driver / 1e6).toFixed(1)} MB  worker ${(worker / 1e6).toFixed(1)} MB\n`)
    })
    yield* Console.log(json ? JSON.stringify(summary) : Soak.words(summary).join("\n"))
    if (!Soak.isFlat(summary)) process.exitCode = 1
    const files = yield* FileSystem.FileSystem
    yield* files.writeFileString(file("soak.svg"), Soak.plot(samples, summary))
    const results = yield* files.readFileString(file("RESULTS.md"))
    yield* files.writeFileString(file("RESULTS.md"), Section.into(results, "soak", Soak.section(summary)))
  })
).pipe(Command.withDescription("Groups at full load with restarts: memory and descriptors must not grow"))

Command.run(soak, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
