/** A program that runs seeds of a simulation on all processors, and tells what failed. */
import type { Outcome } from "@phalanx/core/testing/Simulation"
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"

/** A simulation, by its seeds. */
export interface Kind {
  readonly name: string
  readonly run: (seed: number) => Outcome
  readonly explain: (seed: number) => ReadonlyArray<string>
}

interface Tally {
  readonly failed: ReadonlyArray<number>
  readonly coverage: Readonly<Record<string, number>>
}

/** Seeds that a thread takes at a time. */
const share = 25

const sweep = ({ run }: Kind, from: number, count: number): Tally => {
  const failed: Array<number> = []
  const coverage: Record<string, number> = {}
  for (let seed = from; seed < from + count; seed++) {
    const outcome = run(seed)
    if (outcome.violations.length > 0) failed.push(seed)
    for (const [pair, times] of Object.entries(outcome.coverage)) coverage[pair] = (coverage[pair] ?? 0) + times
  }
  return { failed, coverage }
}

/** Faults by the state in which they found their member. */
const table = (name: string, coverage: Readonly<Record<string, number>>): ReadonlyArray<string> => {
  const pairs = Object.entries(coverage).map(([pair, times]) => ({ pair: pair.split(" / ") as [string, string], times }))
  const states = [...new Set(pairs.map(({ pair }) => pair[1]))].sort()
  const faults = [...new Set(pairs.map(({ pair }) => pair[0]))].sort()
  const line = (head: string, cells: ReadonlyArray<string | number>) =>
    head.padEnd(11) + cells.map((cell) => String(cell).padStart(11)).join("")
  return [
    line(name, states),
    ...faults.map((fault) => line(`  ${fault}`, states.map((state) => coverage[`${fault} / ${state}`] ?? 0)))
  ]
}

const print = (lines: ReadonlyArray<string>): void => void process.stdout.write(lines.map((line) => `${line}\n`).join(""))

const many = async (url: string, { explain, name }: Kind, from: number, count: number): Promise<ReadonlyArray<number>> => {
  const failures: Array<number> = []
  const coverage: Record<string, number> = {}
  let next = from
  const width = Math.max(1, Math.min(availableParallelism(), Math.ceil(count / share)))
  await Promise.all(Array.from({ length: width }, () =>
    new Promise<void>((resolve, reject) => {
      // What a run leaves behind is garbage at once: a large young generation collects it cheaply.
      const thread = new Worker(new URL(url), { workerData: "sweep", resourceLimits: { maxYoungGenerationSizeMb: 128 } })
      const ask = (): void => {
        if (next >= from + count) return void thread.terminate().then(() => resolve())
        const begin = next
        next = Math.min(from + count, begin + share)
        thread.postMessage({ from: begin, count: next - begin })
      }
      thread.on("error", reject)
      thread.on("message", (tally: Tally) => {
        failures.push(...tally.failed)
        for (const [pair, times] of Object.entries(tally.coverage)) coverage[pair] = (coverage[pair] ?? 0) + times
        ask()
      })
      ask()
    })))
  failures.sort((a, b) => a - b)
  for (const seed of failures.slice(0, 3)) print([...explain(seed), ""])
  print(table(name, coverage))
  print([`${count} seeds from ${from} on, ${failures.length} failures${failures.length === 0 ? "" : `: ${failures.join(", ")}`}`])
  return failures
}

const one = ({ explain, run }: Kind, seed: number): ReadonlyArray<number> => {
  const { hash, violations } = run(seed)
  print(explain(seed))
  const again = run(seed).hash
  print([
    violations.length === 0 ? `Seed ${seed} holds.` : `Seed ${seed} fails.`,
    again === hash
      ? `Its trace has the hash ${hash}, both times.`
      : `Its trace has the hash ${hash}, then ${again}: it is not the same twice.`
  ])
  return violations.length === 0 && again === hash ? [] : [seed]
}

/**
 * The program at `url`, which calls this. It takes `--from N` (default 1) and `--seeds N` (default 2000), or `--seed N` for one, which is run twice and told line by line. With
 * `--json` the last line is `{"seeds","failures"}`.
 */
export const main = async (url: string, kind: Kind): Promise<void> => {
  if (!isMainThread) {
    if (workerData !== "sweep") return
    parentPort!.on("message", ({ count, from }: { readonly from: number; readonly count: number }) => {
      parentPort!.postMessage(sweep(kind, from, count))
    })
    return
  }
  const { values } = parseArgs({
    options: { seed: { type: "string" }, seeds: { type: "string" }, from: { type: "string" }, json: { type: "boolean", default: false } }
  })
  const [from, count] = values.seed === undefined ? [Number(values.from ?? 1), Number(values.seeds ?? 2000)] : [Number(values.seed), 1]
  const failures = values.seed === undefined ? await many(url, kind, from, count) : one(kind, from)
  if (values.json) print([JSON.stringify({ seeds: count, failures: failures.length })])
  if (failures.length > 0) process.exitCode = 1
}
