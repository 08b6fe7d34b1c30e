import * as Bench from "../Bench.ts"
import * as Systems from "../Systems.ts"

/** The same large payload to all workers. */
export const Broadcast: Bench.Bench = {
  name: "broadcast",
  about: "The same 1,048,576 bytes to all workers at once, until all have answered.",
  unit: "µs",
  run: Bench.interleaved(Systems.callable, [1, 2, 4].map((workers) => ({ workers, bytes: 2 ** 20 })))
}
