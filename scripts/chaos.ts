/** Brings real faults to groups of real processes, from a seed, and prints the ledger of what became of every call. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as chaos from "../test/harness/chaos.ts"
import type { Verb } from "../test/harness/faults.ts"
import * as segments from "../test/harness/segments.ts"

const number = (value: number): string => Math.round(value).toLocaleString("en-US")
const total = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((sum, count) => sum + count, 0)
const list = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts).map(([name, count]) => `${name} ${number(count)}`).join(" · ")

/** The ledger for people. */
const ledger = (outcome: chaos.Outcome): string => {
  const { by, calls, complaints, deaths, doubled, failed, faults, hung, laps, latencies, leaked, lost, millis, replied, restarts, seed } =
    outcome
  const rows = [
    ["", "n", "p50", "p99", "max"],
    ...[...latencies].map(([verb, { max, n, p50, p99 }]) => [verb, n, p50, p99, max].map(String))
  ]
  return [
    `seed ${seed}: ${number(total(faults))} faults in ${(millis / 1000).toFixed(1)} s`,
    `  ${list(faults)}`,
    `deaths        ${number(total(deaths))}  (${list(deaths)}), ${number(restarts)} restarts; slow readers lapped ${number(laps)} times`,
    `calls made    ${number(calls)}`,
    `replied       ${number(replied)}`,
    `failed typed  ${number(failed)}  (${list(by)}, counted a rank)`,
    `lost          ${lost}`,
    `doubled       ${doubled}`,
    `hung          ${hung}`,
    `leaked        ${total(leaked)}  (${list(leaked)})`,
    "from the fault to the first typed failure that names it, in ms:",
    ...rows.map(([verb, ...cells]) => `  ${verb!.padEnd(10)}${cells.map((cell) => cell.padStart(9)).join("")}`),
    ...complaints.slice(0, 20)
  ].join("\n")
}

/** The same for programs; `p50`, `p99` and `max` are those of SIGKILL. */
const json = ({ calls, doubled, failed, faults, hung, latencies, leaked, lost, replied }: chaos.Outcome): string => {
  const { max, p50, p99 } = latencies.get("kill") ?? { max: 0, p50: 0, p99: 0 }
  return JSON.stringify({
    faults: total(faults),
    calls,
    replied,
    failed,
    lost,
    doubled,
    hung,
    leaked: total(leaked),
    p50,
    p99,
    max,
    verbs: faults,
    latencies: Object.fromEntries(latencies)
  })
}

const command = Command.make(
  "chaos",
  {
    faults: Flag.Int("faults").pipe(Flag.withDescription("how many"), Flag.withDefault(100)),
    seed: Flag.Int("seed").pipe(
      Flag.withDescription("which; the same one brings the same faults in the same order"),
      Flag.withDefault(1)
    ),
    ranks: Flag.Int("ranks").pipe(Flag.withDescription("of each group"), Flag.withDefault(3)),
    json: Flag.Boolean("json").pipe(Flag.withDescription("the last line of the output is the ledger as JSON"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function*({ faults, json: asJson, ranks, seed }) {
    const why = segments.isPrivate() ? "" : segments.enclose(64)
    const without: ReadonlyArray<Verb> = why === "" ? [] : ["fillShm"]
    if (why !== "") yield* Console.error(`without fillShm: the segments' folder cannot be had for ourselves (${why})`)
    const outcome = yield* Effect.scoped(chaos.run({
      seed,
      faults,
      ranks,
      without,
      progress: (done) => {
        if (done % 50 === 0) process.stderr.write(`${done} of ${faults} faults\n`)
      }
    }))
    yield* Console.log(asJson ? json(outcome) : ledger(outcome))
    for (const complaint of asJson ? outcome.complaints.slice(0, 20) : []) yield* Console.error(complaint)
    if (outcome.complaints.length + total(outcome.leaked) > 0) process.exitCode = 1
  })
).pipe(Command.withDescription("Brings faults to groups under load; nothing may be lost, doubled, hung or left behind"))

Command.run(command, { version: "0.1.0" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
