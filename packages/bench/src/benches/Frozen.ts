import * as Effect from "effect/Effect"
import type * as Bench from "../Bench.ts"
import * as Mortals from "../Mortals.ts"
import * as Row from "../Row.ts"

const ranks = 2
/** Deadlines in milliseconds: a short one, and the default. */
const deadlines = [1000, 5000]

/** From SIGSTOP to the death of a worker that was stopped. */
export const Frozen: Bench.Bench = {
  name: "frozen",
  about:
    "From SIGSTOP of one of two ranks until the call in flight to it has failed with WorkerDied, `bytes` being the deadline in milliseconds: that of an option, and the default of 5 s.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const rows: Array<Row.Row> = []
    for (const frozen of depth.name === "smoke" ? [300] : deadlines) {
      const group = yield* Effect.mapError(Mortals.start(ranks, { heartbeat: { frozen } }), Mortals.failed)
      const values: Array<number> = []
      for (let count = 0; count < Math.ceil(Mortals.deaths(depth) / 10); count++) {
        const { died, millis } = yield* Mortals.strike(group, 0, "SIGSTOP")
        if (died.reason !== "frozen") return yield* Mortals.failed(new Error(`its death was told as ${died.reason}`))
        values.push(millis * 1000)
      }
      rows.push(Row.of("phalanx", { workers: ranks, bytes: frozen }, [{ values, foreign: 0 }]))
    }
    return rows
  }, Effect.scoped)
}
