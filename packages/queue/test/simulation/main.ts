/**
 * Runs seeds of the simulated ring and doorbell, one simulation a processor, and tells what failed: `--from N` (default 0), `--seeds N` (default 2000), or
 * `--seed N` for one of them, whose run is told event by event. With `--json` the last line is `{"seeds","failures"}`.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import process from "node:process"
import { parseArgs } from "node:util"
import { add, type Coverage, table } from "./coverage.ts"
import { processors } from "./processors.ts"
import { report } from "./report.ts"
import { make } from "./simulation.ts"

/** Seeds that one simulation takes at a time. */
const share = 50

const { values } = parseArgs({
  options: { seed: { type: "string" }, seeds: { type: "string" }, from: { type: "string" }, json: { type: "boolean", default: false } }
})
const [from, count] = values.seed === undefined ? [Number(values.from ?? 0), Number(values.seeds ?? 2000)] : [Number(values.seed), 1]

const one = Effect.gen(function*() {
  const simulation = yield* make()
  const outcome = yield* simulation.run(from)
  yield* Console.log((outcome.failure === undefined ? [...outcome.trace, ...report(outcome)] : report(outcome)).join("\n"))
  return outcome.failure === undefined ? [] : [from]
})

const many = Effect.gen(function*() {
  const failures: Array<number> = []
  let coverage: Coverage = []
  let next = from
  const run = Effect.fnUntraced(function*(index: number) {
    const simulation = yield* make({ index })
    while (next < from + count) {
      const begin = next
      next = Math.min(from + count, begin + share)
      const tally = yield* simulation.seeds({ from: begin, count: next - begin })
      coverage = add(coverage, tally.coverage)
      for (const { seed } of tally.failed) {
        failures.push(seed)
        if (failures.length <= 3) yield* Console.log(report(yield* simulation.run(seed)).join("\n"))
      }
    }
  }, Effect.scoped)
  const width = Math.max(1, Math.min(processors().length, Math.ceil(count / share)))
  yield* Effect.forEach(Array.from({ length: width }, (_, index) => index), run, { concurrency: "unbounded", discard: true })
  yield* Console.log(table(coverage).join("\n"))
  yield* Console.log(
    `${count} seeds from ${from} on, ${failures.length} failures${failures.length === 0 ? "" : `: ${failures.join(", ")}`}`
  )
  return failures
})

const program = Effect.gen(function*() {
  const failures = yield* values.seed === undefined ? many : one
  if (values.json) yield* Console.log(JSON.stringify({ seeds: count, failures: failures.length }))
  if (failures.length > 0) process.exitCode = 1
})

await Effect.runPromise(Effect.scoped(program))
