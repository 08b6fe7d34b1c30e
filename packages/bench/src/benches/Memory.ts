import * as Effect from "effect/Effect"
import * as Bench from "../Bench.ts"
import * as Proc from "../Proc.ts"
import * as Row from "../Row.ts"
import * as Systems from "../Systems.ts"

const setting = { workers: 4, bytes: 64 }
const calls = { warm: { calls: 0, most: 0 }, budget: 0, least: 1000, most: 1000, pause: 0 }

/** What a worker process holds. */
export const Memory: Bench.Bench = {
  name: "memory",
  about:
    "Memory of each of four worker processes after 1,000 calls: proportional set size without the queues' shared segments. One system at a time is alive.",
  unit: "bytes",
  run: Effect.fnUntraced(function*(depth) {
    const drivers = yield* Bench.spawnAll(Systems.processes)
    const rounds = new Map(drivers.map(({ name }) => [name, [] as Array<Row.Round>]))
    for (let round = 0; round < depth.rounds; round++) {
      for (const driver of Bench.rotated(drivers, round)) {
        yield* driver.start(setting)
        const { pids } = yield* driver.sample(calls)
        rounds.get(driver.name)!.push({ values: pids.map(Proc.ownBytes), foreign: 0 })
        yield* driver.stop
      }
    }
    return Systems.processes.map((name) => Row.of(name, setting, rounds.get(name)!))
  })
}
