/**
 * Round after round, everything is killed on a Ray cluster of three hosts that can be: a worker, an agent, the bridge, a driver, a node, a host, a host's network. After each
 * round it is counted what there is: what a round leaves behind would add up. Exit code 1 if it does. In the end it is told how soon each loss was news. Argument: how many
 * rounds, 20 if it is left out.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Hosts from "../../../test/harness/hosts.ts"
import { Host1 } from "./hosts/Host1.ts"
import { suites } from "./hosts/suites.ts"

const rounds = Number(process.argv[2] ?? 20)
const { cases, name: suite } = suites.at(-1)!
/** All but the last, after which there is no cluster. */
const names = cases.slice(0, -1).map(({ name }) => name)

type Counts = Record<string, number>

const program = Effect.gen(function*() {
  const { run } = yield* Host1
  const all: Array<Counts> = []
  const told = new Map<string, Array<number>>()
  yield* Console.log(names.map((name, index) => `${index + 1}  ${name}`).join("\n"))
  for (let round = 1; round <= rounds; round++) {
    const seconds: Array<string> = []
    for (const name of names) {
      const began = performance.now()
      for (const [what, millis] of Object.entries((yield* run(suite, name)) as Counts | undefined ?? {})) {
        told.set(what, [...told.get(what) ?? [], millis])
      }
      seconds.push(((performance.now() - began) / 1000).toFixed(1))
    }
    const counts = (yield* run(suite, "counts")) as Counts
    all.push(counts)
    const words = Object.entries(counts).map(([name, count]) => `${name} ${count}`).join("  ")
    yield* Console.log(`round ${String(round).padStart(2)}  seconds ${seconds.join(" ")}  ${words}`)
  }
  for (const [what, millis] of told) {
    const sorted = millis.toSorted((a, b) => a - b)
    yield* Console.log(
      `${what}: told after ${Math.round(sorted[sorted.length >> 1]!)} ms (median), ${Math.round(sorted.at(-1)!)} ms at most`
    )
  }
  const left = all.filter(({ agents, reserved, segments, workers }) => workers! + agents! + segments! + reserved! > 0)
  const more = all.at(-1)!["processes"]! - all[0]!["processes"]!
  yield* Console.log(
    left.length === 0 && more <= 0
      ? `Nothing is left after ${rounds} rounds.`
      : `${left.length} rounds left something; ${more} processes more than after the first.`
  )
  if (left.length > 0 || more > 0) process.exitCode = 1
})

const obstacle = Hosts.obstacle()
if (obstacle !== undefined) {
  process.stderr.write(`${obstacle}\n`)
  process.exitCode = 1
} else NodeRuntime.runMain(Effect.provide(program, Host1.layer))
