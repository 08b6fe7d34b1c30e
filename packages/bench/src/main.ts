/** `pnpm bench NAME [--quick] [--json] [--kept FILE]`. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { benches } from "./Benches.ts"
import * as Depth from "./Depth.ts"
import * as Kept from "./Kept.ts"
import * as Report from "./Report.ts"
import * as Section from "./Section.ts"

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
    kept: Flag.String("kept").pipe(
      Flag.withDescription("keep each bench's results in this file, and do not measure again what it holds of this machine"),
      Flag.optional
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("one line of JSON a bench, the last of the output"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ json, kept, name, quick }) {
    const depth = quick ? Depth.quick : Depth.full
    const names = name === "all" ? benches.map(({ name }) => name) : [name]
    const done = Option.isSome(kept) ? yield* Kept.read(kept.value, depth) : new Map<string, Report.Result>()
    const results = yield* Effect.forEach(
      names,
      Effect.fnUntraced(function*(name) {
        const result = done.get(name) ?? (yield* run(name, depth))
        if (Option.isSome(kept) && !done.has(name)) yield* Kept.add(kept.value, depth, result)
        yield* Console.log(json ? Report.json(result) : `${name === "all" ? `${result.bench.name}\n` : ""}${Report.table(result)}\n`)
        return result
      })
    )
    if (name !== "all") return
    const files = yield* FileSystem.FileSystem
    const path = fileURLToPath(new URL("../RESULTS.md", import.meta.url))
    const former = yield* files.readFileString(path)
    const sections = Section.names.flatMap((name) => Section.of(former, name) ?? [])
    yield* files.writeFileString(path, Report.results(results, depth, sections))
  })
).pipe(Command.withDescription("What messages, calls and waiting workers cost, side by side with what else Node has"))

Command.run(bench, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
