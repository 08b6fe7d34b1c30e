import * as Effect from "effect/Effect"
import type * as Bench from "../Bench.ts"
import * as Mortals from "../Mortals.ts"
import * as Row from "../Row.ts"

const ranks = 4
const setting = { workers: ranks, bytes: 0 }

/** What it costs that a death is told by a keeper. */
export const Kept: Bench.Bench = {
  name: "kept",
  about:
    "From SIGKILL of one of four idle ranks until the call in flight to it has failed with WorkerDied, where workers are the driver's children, and where they are a keeper's, in turn. Quantiles are of "
    + "all kills together.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const start = (keeper: boolean) => Effect.mapError(Mortals.start(ranks, { keeper }), Mortals.failed)
    const groups = [
      { system: "phalanx", group: yield* start(false), values: [] as Array<number> },
      { system: "phalanx, keeper", group: yield* start(true), values: [] as Array<number> }
    ]
    for (let count = 0; count < Mortals.deaths(depth); count++) {
      for (const { group, values } of count % 2 === 0 ? groups : groups.toReversed()) {
        values.push((yield* Mortals.strike(group, 0, "SIGKILL")).millis * 1000)
        // The rank serves again before the next one is struck.
        yield* Effect.mapError(group.call.hello({ n: 0 }), Mortals.failed)
      }
    }
    return groups.map(({ system, values }) => Row.of(system, setting, [{ values, foreign: 0 }]))
  })
}
