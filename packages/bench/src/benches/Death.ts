import * as Effect from "effect/Effect"
import * as Bench from "../Bench.ts"
import * as Proc from "../Proc.ts"
import * as Row from "../Row.ts"
import type * as Systems from "../Systems.ts"

const setting = { workers: 1, bytes: 64 }
const systems: ReadonlyArray<Systems.Name> = ["phalanx", "exit-event", "fork-ipc", "effect-rpc"]

/** From a SIGKILL to knowing of it. */
export const Death: Bench.Bench = {
  name: "death",
  about:
    "From SIGKILL of a worker in a call until the driver knows: Phalanx's call fails with WorkerDied; effect/rpc's call fails; `fork-ipc` is the bare exit event of "
    + "its small process, `exit-event` that of a process with as much resident memory as Phalanx's worker had in the same round.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const drivers = yield* Bench.spawnAll(systems)
    const rounds = new Map(drivers.map(({ name }) => [name, [] as Array<Row.Round>]))
    let resident = 0
    for (let round = 0; round < depth.rounds; round++) {
      // Phalanx comes first in every round, since its worker says how large the other is to be.
      for (const driver of [drivers[0]!, ...Bench.rotated(drivers.slice(1), round)]) {
        const values: Array<number> = []
        for (let count = 0; count < depth.kills; count++) {
          const { pids } = yield* driver.start(driver.name === "exit-event" ? { workers: 1, bytes: resident } : setting)
          if (driver.name === "phalanx") resident = Proc.residentBytes(pids[0]!)
          values.push(...(yield* driver.kill).micros)
          yield* driver.stop
        }
        rounds.get(driver.name)!.push({ values, foreign: 0 })
      }
    }
    return systems.map((name) => Row.of(name, setting, rounds.get(name)!))
  })
}
