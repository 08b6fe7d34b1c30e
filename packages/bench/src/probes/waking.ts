/**
 * What waking up costs, the floor under every number of the queue:
 *
 *     node packages/bench/src/probes/waking.ts [round trips]
 *
 * `asleep`: whoever waits has parked, and every hand-over goes through a doorbell unless it wins the race. `awake`: both look for up to 100
 * microseconds before they park; that pays as long as there is a processor for each.
 */
import * as Waking from "@phalanx/queue/Waking"
import * as Effect from "effect/Effect"
import process from "node:process"

const rounds = Number(process.argv[2] ?? 3000)

const report = (what: string, options: Waking.Options) =>
  Effect.map(Waking.measure({ ...options, rounds }), (micros) => {
    const at = (share: number) => micros[Math.floor(micros.length * share)]!.toFixed(1).padStart(8)
    process.stdout.write(`${what.padEnd(20)} p50 ${at(0.5)} µs   p99 ${at(0.99)} µs\n`)
  })

await Effect.runPromise(Effect.gen(function*() {
  yield* report("1 process, awake", { look: "100 micros" })
  yield* report("1 process, asleep", { processes: 1 })
  yield* report("4 processes, asleep", { processes: 4 })
  yield* report("8 processes, asleep", { processes: 8 })
}))
