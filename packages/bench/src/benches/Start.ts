import * as Effect from "effect/Effect"
import * as Bench from "../Bench.ts"
import * as Row from "../Row.ts"
import * as Systems from "../Systems.ts"

const setting = { workers: 4, bytes: 64 }
const systems: ReadonlyArray<Systems.Name> = [...Systems.callable, "phalanx-model"]

/** From nothing to four workers. */
export const Start: Bench.Bench = {
  name: "start",
  about:
    "From the call that starts four workers until all of them answer, in a driver that has its modules loaded. `phalanx-model`: workers that load the language model.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const drivers = yield* Bench.spawnAll(systems)
    const rounds = new Map(drivers.map(({ name }) => [name, [] as Array<Row.Round>]))
    for (let round = 0; round < depth.rounds; round++) {
      for (const driver of Bench.rotated(drivers, round)) {
        const { micros } = yield* driver.start(setting)
        rounds.get(driver.name)!.push({ values: micros, foreign: 0 })
        yield* driver.stop
      }
    }
    return systems.map((name) => Row.of(name, setting, rounds.get(name)!))
  })
}
