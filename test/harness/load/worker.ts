/** Serves the load, and notes every execution in a file that the ledger reads: what was run is known from whoever ran it. */
import { Collectives } from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { openSync, writeSync } from "node:fs"
import process from "node:process"
import { Load, Refused } from "./protocol.ts"

const block = (millis: number, spins: boolean): void => {
  if (!spins) return void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)
  const end = performance.now() + millis
  while (performance.now() < end) { /* the event loop waits */ }
}

export default Worker.make(
  Load,
  Load.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const collectives = yield* Collectives
    const notes = openSync(process.env["CHAOS_NOTES"]!, "a")
    const { rank } = self
    /** Notes that this rank runs the call, and gives its answer. */
    const serving = (call: number) => {
      writeSync(notes, `${call} ${rank}\n`)
      return { call, rank }
    }
    const inBytes = (call: number): Uint8Array => new Uint8Array(Int32Array.of(call).buffer)
    const fromBytes = (bytes: Uint8Array): number => new Int32Array(bytes.slice().buffer)[0]!
    return Load.of({
      ping: ({ call }) => Effect.sync(() => serving(call)),
      echo: ({ bytes, call }) => Effect.sync(() => ({ ...serving(call), bytes })),
      refuse: ({ call }) => Effect.suspend(() => Effect.fail(new Refused(serving(call)))),
      hold: ({ call }) => Effect.suspend(() => (serving(call), Effect.never)),
      count: ({ call, to }) => {
        const answer = serving(call)
        return Stream.map(Stream.range(1, to), (n) => ({ ...answer, n }))
      },
      meet: ({ call }) =>
        Effect.suspend(() => {
          const answer = serving(call)
          return Effect.map(collectives.allGather(inBytes(call)), (parts) => ({ ...answer, met: parts.map(fromBytes) }))
        }),
      block: ({ call, millis, spins }) =>
        Effect.sync(() => {
          const answer = serving(call)
          block(millis, spins)
          return answer
        }),
      dawdle: Effect.fnUntraced(function*({ call, millis, nap }) {
        const answer = serving(call)
        const end = performance.now() + millis
        while (performance.now() < end) {
          block(nap, false)
          yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
        }
        return answer
      })
    })
  }))
)
