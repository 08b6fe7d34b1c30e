import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Bench from "../Bench.ts"
import * as Mortals from "../Mortals.ts"
import * as Row from "../Row.ts"

const ranks = 4

/** From the news of a death to the last survivor's failure. */
export const Abort: Bench.Bench = {
  name: "abort",
  about:
    "Three of four ranks wait in a collective for the fourth, which is killed: from when its call has failed with WorkerDied until the last survivor's has with CollectiveAborted.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const group = yield* Effect.mapError(Mortals.start(ranks), Mortals.failed)
    const survivors = group.slice({ rank: [1, 2, 3] })
    const values: Array<number> = []
    for (let count = 0; count < Mortals.deaths(depth); count++) {
      // Lanes are open, so that what is aborted is an operation and not its opening.
      yield* Effect.mapError(group.call.meet(), Mortals.failed)
      const waiting = yield* Effect.forkChild(Effect.map(survivors.exits.meet(), (exits) => ({ exits, at: performance.now() })), {
        startImmediately: true
      })
      const { at } = yield* Mortals.strike(group, 0, "SIGKILL")
      const aborted = yield* Fiber.join(waiting)
      for (const exit of aborted.exits) {
        const { reason } = Exit.isFailure(exit) ? yield* Effect.mapError(Effect.flip(exit), Mortals.failed) : { reason: undefined }
        if (reason?._tag !== "CollectiveAborted") return yield* Mortals.failed(new Error(`a survivor's call ended in ${reason?._tag}`))
      }
      values.push(Math.max(0, aborted.at - at) * 1000)
    }
    return [Row.of("phalanx", { workers: ranks, bytes: 0 }, [{ values, foreign: 0 }])]
  })
}
