import * as Eplb from "@phalanx/elastic/Eplb"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import process from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type * as Bench from "../Bench.ts"
import * as Driver from "../Driver.ts"
import * as Row from "../Row.ts"

/** DeepSeek-R1 on 32 ranks: what vLLM's own documentation of the algorithm reckons with. */
const plan = { physical: 288, groups: 8, nodes: 4, ranks: 32 }
const layers = 58
const logical = 256

const python = process.env["PHALANX_PYTHON"] ?? "python3"
const packings = ["item by item", "all layers at once"] as const

/** A skewed load, another one for each round. */
const load = (round: number): ReadonlyArray<ReadonlyArray<number>> => {
  let state = round + 1
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647
  return Array.from({ length: layers }, () => Array.from({ length: logical }, () => Math.floor(10_000 * random() ** 6)))
}

interface Answer {
  readonly micros: number
  readonly map: ReadonlyArray<ReadonlyArray<number>>
}

const failed = (system: string, issue: string) => new Driver.SystemFailed({ system, issue })

const ours = Effect.fnUntraced(function*(load: ReadonlyArray<ReadonlyArray<number>>) {
  const members = Array.from({ length: plan.ranks }, (_, rank) => rank)
  const start = performance.now()
  const { layers: map } = yield* Eplb.rebalance(load, { ...plan, members })
  return { micros: (performance.now() - start) * 1000, map } satisfies Answer
}, Effect.mapError(({ message }) => failed("phalanx", message)))

/** A Python that stays, so that its start is nobody's time. */
const startPython = Effect.gen(function*() {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(python, [fileURLToPath(new URL("../../rivals/eplb.py", import.meta.url))], { stdio: ["pipe", "pipe", "inherit"] })
    ),
    (child) => Effect.sync(() => child.kill())
  )
  const lines = createInterface({ input: child.stdout })
  return (packing: (typeof packings)[number], load: ReadonlyArray<ReadonlyArray<number>>) =>
    Effect.callback<Answer, Driver.SystemFailed>((resume) => {
      const answered = (line: string) => {
        child.off("exit", gone)
        resume(Effect.succeed(JSON.parse(line)))
      }
      const gone = () => {
        lines.off("line", answered)
        resume(Effect.fail(failed("python", "ended before it had answered")))
      }
      lines.once("line", answered)
      child.once("exit", gone)
      child.stdin.write(`${JSON.stringify({ ...plan, packing, load })}\n`)
    })
})

/** Placing the experts of a large model. */
export const Placing: Bench.Bench = {
  name: "eplb",
  about:
    `Placing ${layers} layers of ${logical} experts, 8 groups, on 288 slots of 32 ranks (\`workers\`) of 4 nodes by a skewed load; \`bytes\` are the slots. Every map is compared. `
    + "The rivals are numpy: packing one item of one layer after the other, as vLLM does, and all layers in each step.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const rival = spawnSync(python, ["-c", "import numpy"], { stdio: "ignore" }).status === 0 ? yield* startPython : undefined
    if (rival === undefined) yield* Console.error(`eplb: no rival, since ${python} has no numpy; PHALANX_PYTHON may name one that has`)
    const rounds = new Map<string, Array<Row.Round>>()
    const add = (system: string, { micros }: Answer) => rounds.set(system, [...rounds.get(system) ?? [], { values: [micros], foreign: 0 }])
    for (let warm = 0; warm < (depth.name === "smoke" ? 1 : 5); warm++) yield* ours(load(warm))
    for (let round = 0; round < depth.rounds * 5; round++) {
      const asked = load(round)
      const answer = yield* ours(asked)
      add("phalanx", answer)
      for (const packing of rival === undefined ? [] : packings) {
        const theirs = yield* rival!(packing, asked)
        if (JSON.stringify(theirs.map) !== JSON.stringify(answer.map)) return yield* failed(packing, "it has another map")
        add(`numpy, ${packing}`, theirs)
      }
    }
    return [...rounds].map(([system, values]) => Row.of(system, { workers: plan.ranks, bytes: plan.physical }, values))
  })
}
