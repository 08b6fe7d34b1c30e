import * as Journal from "@phalanx/elastic/Journal"
import * as Sqlite from "@phalanx/elastic/Sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** Ends this process as nothing can keep it from. */
export const die = Effect.andThen(Effect.sync(() => process.kill(process.pid, "SIGKILL")), Effect.never)

/** A journal in a file whose process dies at a point: `before 3` or `after 3` is the third write. `death` is what happens there. */
export const layer = (filename: string, point: string, death: Effect.Effect<never> = die) => {
  let writes = 0
  const dying = <A extends ReadonlyArray<any>, B, E>(write: (...args: A) => Effect.Effect<B, E>) => (...args: A) =>
    Effect.suspend(() => {
      const number = ++writes
      if (point === `before ${number}`) return death
      return point === `after ${number}` ? Effect.andThen(write(...args), death) : write(...args)
    })
  return Layer.effect(
    Journal.Journal,
    Effect.map(Journal.Journal, (journal) =>
      Journal.Journal.of({
        ...journal,
        begin: dying(journal.begin),
        close: dying(journal.close),
        decide: dying(journal.decide),
        end: dying(journal.end),
        open: dying(journal.open),
        recordActivity: dying(journal.recordActivity)
      }))
  ).pipe(Layer.provide(Journal.layer), Layer.provide(Sqlite.layer({ filename, synchronous: "NORMAL" })))
}
