/** Results in a file, a line of JSON each, so that a run which is cut short goes on from there. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { benches } from "./Benches.ts"
import type { Depth } from "./Depth.ts"
import { machine } from "./Machine.ts"
import type { Result } from "./Report.ts"
import { Row } from "./Row.ts"

const Line = Schema.fromJsonString(Schema.Struct({
  name: Schema.String,
  machine: Schema.String,
  depth: Schema.String,
  rows: Schema.Array(Row),
  lines: Schema.Array(Schema.String)
}))

/** What the file holds of this machine at this depth, by the name of the bench; nothing if there is no file, and a line that was cut off does not count. */
export const read = Effect.fn("Kept.read")(function*(file: string, depth: Depth) {
  const files = yield* FileSystem.FileSystem
  const text = (yield* files.exists(file)) ? yield* files.readFileString(file) : ""
  return new Map(
    text.split("\n").flatMap((line): ReadonlyArray<readonly [string, Result]> => {
      const kept = Option.getOrUndefined(Schema.decodeOption(Line)(line))
      const bench = benches.find(({ name }) => name === kept?.name)
      return kept === undefined || bench === undefined || kept.machine !== machine() || kept.depth !== depth.name
        ? []
        : [[bench.name, { bench, rows: kept.rows, lines: kept.lines }]]
    })
  )
})

/** Adds a result, on a line of its own even if the last one was cut off. */
export const add = Effect.fn("Kept.add")(function*(file: string, depth: Depth, { bench, lines, rows }: Result) {
  const files = yield* FileSystem.FileSystem
  const line = Schema.encodeSync(Line)({ name: bench.name, machine: machine(), depth: depth.name, rows, lines })
  yield* files.writeFileString(file, `\n${line}`, { flag: "a" })
})
