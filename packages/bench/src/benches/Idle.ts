import * as Effect from "effect/Effect"
import * as Bench from "../Bench.ts"
import * as Depth from "../Depth.ts"
import * as Proc from "../Proc.ts"
import * as Row from "../Row.ts"
import * as Systems from "../Systems.ts"

const setting = { workers: 1, bytes: 64 }
const seconds = 3

/** What a worker costs that nobody asks anything. */
export const Idle: Bench.Bench = {
  name: "idle",
  about: "Processor time of a worker process that has been called and then waits: microseconds a second, so that 10,000 are 1 % of a core.",
  unit: "µs/s",
  run: Effect.fnUntraced(function*(depth) {
    const started = yield* Bench.startAll(Systems.processes, setting)
    for (const { driver } of started) yield* driver.sample(Depth.sampling(depth, 0))
    yield* Effect.sleep("1 second")
    const rounds = new Map(started.map(({ driver }) => [driver.name, [] as Array<Row.Round>]))
    for (let round = 0; round < depth.rounds; round++) {
      const before = started.map(({ pids }) => Proc.cpuMicros(pids[1]!))
      const { foreign } = yield* Bench.watched(started.flatMap(({ pids }) => pids), Effect.as(Effect.sleep(`${seconds} seconds`), []))
      started.forEach(({ driver, pids }, index) =>
        rounds.get(driver.name)!.push({ values: [(Proc.cpuMicros(pids[1]!) - before[index]!) / seconds], foreign })
      )
    }
    return Systems.processes.map((name) => Row.of(name, setting, rounds.get(name)!))
  })
}
