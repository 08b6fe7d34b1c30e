import * as Bench from "../Bench.ts"
import * as Systems from "../Systems.ts"

/** A call of all workers at once. */
export const FanOut: Bench.Bench = {
  name: "fanout",
  about: "A call of all workers at once with 64 bytes each, until all have answered.",
  unit: "µs",
  run: Bench.interleaved(Systems.callable, [1, 2, 4, 8].map((workers) => ({ workers, bytes: 64 })))
}
