import * as Bench from "../Bench.ts"

/** The queue alone. */
export const Hop: Bench.Bench = {
  name: "hop",
  about:
    "The queue alone: 64 bytes to one worker process and the same bytes back, without schemas and handlers (bare ZeroMQ answers four bytes).",
  unit: "µs",
  run: Bench.interleaved(["phalanx-queue", "pipe", "zeromq"], [{ workers: 1, bytes: 64 }])
}
