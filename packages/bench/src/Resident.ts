/** What this process holds when nothing of it is garbage. */
import * as Effect from "effect/Effect"
import process from "node:process"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

let collect: (() => void) | undefined

const nextTurn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const forced = Effect.andThen(
  Effect.sync(() => {
    if (collect === undefined) {
      setFlagsFromString("--expose-gc")
      collect = runInNewContext("gc") as () => void
    }
    collect()
  }),
  nextTurn
)

/** Resident memory in bytes, after two collections: what the first finds unreachable may be let go of in a later turn, such as mapped memory. */
export const afterCollection: Effect.Effect<number> = Effect.andThen(
  Effect.andThen(forced, forced),
  Effect.sync(() => process.memoryUsage.rss())
)
