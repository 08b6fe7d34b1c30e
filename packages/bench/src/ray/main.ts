/** `pnpm bench:ray [--quick] [--json]`: what a group costs on Ray, beside the same on this machine and beside calls of Ray's own actors. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Python from "@phalanx/ray/Python"
import * as RayCluster from "@phalanx/ray/RayCluster"
import * as RayHead from "@phalanx/ray/RayHead"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { loadavg } from "node:os"
import { machine } from "../Machine.ts"
import * as ControlPlane from "./ControlPlane.ts"
import * as RayDeaths from "./RayDeaths.ts"
import * as Table from "./Table.ts"

const ray = Command.make(
  "bench:ray",
  {
    ranks: Flag.Int("ranks").pipe(Flag.withDescription("ranks of the model's group"), Flag.withDefault(4)),
    quick: Flag.Boolean("quick").pipe(Flag.withDescription("six short rounds"), Flag.withDefault(false)),
    json: Flag.Boolean("json").pipe(Flag.withDescription("the last line of the output is all of it as JSON"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, quick, ranks }) {
    const { path: python } = yield* Python.find()
    const head = yield* RayHead.make({ python })
    const [load] = loadavg()
    const comparison = yield* ControlPlane.run({ head, python, ranks, rounds: quick ? 6 : 24, tokens: quick ? 32 : 64 })
    const deaths = yield* Effect.provide(
      RayDeaths.run(quick ? 5 : 30),
      RayCluster.layer({ ...head, python, output: "ignore", progress: () => {} })
    )
    yield* Console.log(
      json
        ? JSON.stringify({ name: "ray", machine: machine(), ranks, load, ...comparison, deaths })
        : `${machine()}, ${ranks} ranks; load before the first round: ${load!.toFixed(1)}\n${
          Table.comparison(comparison, ControlPlane.ways)
        }\n\n${Table.deaths(deaths)}`
    )
  }, Effect.scoped)
).pipe(Command.withDescription("Phalanx on Ray beside Phalanx on this machine and beside calls of Ray actors"))

Command.run(ray, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
