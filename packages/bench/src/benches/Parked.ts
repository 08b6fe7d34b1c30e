import * as Effect from "effect/Effect"
import * as Bench from "../Bench.ts"
import * as Depth from "../Depth.ts"
import * as Row from "../Row.ts"
import * as Systems from "../Systems.ts"

const setting = { workers: 1, bytes: 64 }
const pause = 2000

/** A call after two seconds of silence. The systems take turns: while one is silent the others have their call. */
export const Parked: Bench.Bench = {
  name: "parked",
  about: "A call of one worker after both sides have slept for 2 s.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const started = yield* Bench.startAll(Systems.callable, setting)
    for (const { driver } of started) yield* driver.sample(Depth.sampling(depth, 0))
    const rounds: Array<ReadonlyArray<readonly [string, Row.Round]>> = []
    for (let round = 0; round < depth.rounds; round++) {
      rounds.push(
        yield* Effect.forEach(
          Bench.rotated(started, round),
          Effect.fnUntraced(function*({ driver }, index) {
            yield* Effect.sleep(index * pause / started.length)
            const { micros } = yield* driver.sample({
              warm: { calls: 0, most: 0 },
              budget: 0,
              least: depth.wakings,
              most: depth.wakings,
              pause
            })
            return [driver.name, { values: micros, foreign: 0 }] as const
          }),
          { concurrency: "unbounded" }
        )
      )
    }
    return Systems.callable.map((name) =>
      Row.of(name, setting, rounds.flatMap((round) => round.flatMap(([system, values]) => system === name ? [values] : [])))
    )
  })
}
