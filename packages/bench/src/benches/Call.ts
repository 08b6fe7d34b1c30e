import * as Bench from "../Bench.ts"
import * as Systems from "../Systems.ts"

/** A call of one worker. */
export const Call: Bench.Bench = {
  name: "call",
  about: "A call of one worker with 64 bytes, which answers their number; one call after the other.",
  unit: "µs",
  run: Bench.interleaved(Systems.callable, [{ workers: 1, bytes: 64 }])
}
