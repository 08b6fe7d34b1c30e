/** `pnpm bench:ray [--quick] [--rounds N] [--scalings N] [--json]`: what a group costs on Ray, beside the same on this machine and beside calls of Ray's own actors. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Python from "@phalanx/ray/Python"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as RayHead from "@phalanx/ray/RayHead"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { loadavg } from "node:os"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { machine } from "../Machine.ts"
import * as Scalings from "../Scalings.ts"
import * as Section from "../Section.ts"
import * as ControlPlane from "./ControlPlane.ts"
import * as RayDeaths from "./RayDeaths.ts"
import * as RayScalings from "./RayScalings.ts"
import * as Table from "./Table.ts"

const ray = Command.make(
  "bench:ray",
  {
    ranks: Flag.Int("ranks").pipe(Flag.withDescription("ranks of the model's group"), Flag.withDefault(4)),
    quick: Flag.Boolean("quick").pipe(Flag.withDescription("six short rounds"), Flag.withDefault(false)),
    rounds: Flag.Int("rounds").pipe(Flag.withDescription("paired rounds of about two seconds each way"), Flag.withDefault(24)),
    scalings: Flag.Int("scalings").pipe(
      Flag.withDescription(
        "instead: so many changes of the model's size under load, and what they leave behind; exit code 1 if anything is"
      ),
      Flag.withDefault(0)
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("the last line of the output is all of it as JSON"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, quick, ranks, rounds, scalings }) {
    const { path: python } = yield* Python.find()
    const head = yield* RayHead.make({ python })
    const [load] = loadavg()
    if (scalings > 0) {
      const say = (change: Scalings.Change) => void process.stderr.write(`${Scalings.words(change)}\n`)
      const scaled = yield* RayScalings.run({ head, python, sizes: RayScalings.sizes(scalings) }, say)
      if (RayScalings.grown(scaled).length > 0) process.exitCode = 1
      return yield* Console.log(json ? JSON.stringify({ name: "ray", machine: machine(), load, ...scaled }) : RayScalings.words(scaled))
    }
    const comparison = yield* ControlPlane.run({ head, python, ranks, rounds: quick ? 6 : rounds, tokens: quick ? 32 : 64 })
    const deaths = yield* Effect.provide(
      RayDeaths.run(quick ? 5 : 30),
      RayCluster.layer({ ...head, python, output: "ignore", progress: () => {} })
    )
    const on = `${machine()}, ${ranks} ranks; load before the first round: ${load!.toFixed(1)}`
    const text = `${Table.comparison(comparison, ControlPlane.ways)}\n\n${Table.deaths(deaths)}`
    yield* Console.log(json ? JSON.stringify({ name: "ray", machine: machine(), ranks, load, ...comparison, deaths }) : `${on}\n${text}`)
    if (quick) return
    const files = yield* FileSystem.FileSystem
    const path = fileURLToPath(new URL("../../RESULTS.md", import.meta.url))
    const results = yield* files.readFileString(path)
    yield* files.writeFileString(path, Section.into(results, "ray", Table.section(on, rounds, text)))
  }, Effect.scoped)
).pipe(Command.withDescription("Phalanx on Ray beside Phalanx on this machine and beside calls of Ray actors"))

Command.run(ray, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
