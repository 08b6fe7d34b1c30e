/** `pnpm bench NAME [--quick] [--json]`. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Schema from "effect/Schema"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { benches } from "./Benches.ts"
import * as Depth from "./Depth.ts"
import * as Report from "./Report.ts"
import * as Soak from "./Soak.ts"

const run = Effect.fnUntraced(function*(name: string, depth: Depth.Depth) {
  const bench = benches.find((bench) => bench.name === name)!
  yield* Console.error(`${name} …`)
  const lines: Array<string> = []
  const tell = (line: string): void => {
    lines.push(line)
    process.stderr.write(`${line}\n`)
  }
  return { bench, rows: yield* Effect.scoped(bench.run(depth, tell)), lines }
})

const bench = Command.make(
  "bench",
  {
    name: Argument.Literals("NAME", [...benches.map(({ name }) => name), "all"]).pipe(
      Argument.withDescription("the bench, or all of them, which writes RESULTS.md")
    ),
    quick: Flag.Boolean("quick").pipe(Flag.withDescription("five short rounds"), Flag.withDefault(false)),
    json: Flag.Boolean("json").pipe(Flag.withDescription("one line of JSON a bench, the last of the output"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, name, quick }) {
    const depth = quick ? Depth.quick : Depth.full
    const names = name === "all" ? benches.map(({ name }) => name) : [name]
    const results = yield* Effect.forEach(
      names,
      Effect.fnUntraced(function*(name) {
        const result = yield* run(name, depth)
        yield* Console.log(json ? Report.json(result) : `${name === "all" ? `${result.bench.name}\n` : ""}${Report.table(result)}\n`)
        return result
      })
    )
    if (name !== "all") return
    const files = yield* FileSystem.FileSystem
    const soak = yield* files.readFileString(fileURLToPath(new URL("../soak.json", import.meta.url))).pipe(
      Effect.flatMap(Schema.decodeEffect(Schema.fromJsonString(Soak.Summary))),
      Effect.orElseSucceed(() => undefined)
    )
    yield* files.writeFileString(fileURLToPath(new URL("../RESULTS.md", import.meta.url)), Report.results(results, depth, soak))
  })
).pipe(Command.withDescription("What messages, calls and waiting workers cost, side by side with what else Node has"))

Command.run(bench, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
