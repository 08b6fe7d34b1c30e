import * as Elastic from "@phalanx/elastic/Elastic"
import { JournalError } from "@phalanx/elastic/ElasticError"
import * as Journal from "@phalanx/elastic/Journal"
import * as Sqlite from "@phalanx/elastic/Sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"

/** A journal that fails every write while it is told to. */
export const failing = (reason: Ref.Ref<Option.Option<JournalError["reason"]>>) => {
  const journal = Layer.effect(
    Journal.Journal,
    Effect.map(Journal.Journal, (journal) => {
      const or = <A extends ReadonlyArray<any>, B>(write: (...args: A) => Effect.Effect<B, JournalError>) => (...args: A) =>
        Effect.flatMap(
          Ref.get(reason),
          Option.match({
            onNone: () => write(...args),
            onSome: (reason) => Effect.fail(new JournalError({ operation: "write", reason, issue: "no room", advice: "Make room" }))
          })
        )
      const { begin, cancel, clock, close, decide, end, forget, interrupt, open, recordActivity, recordDeferred, ...reads } = journal
      return Journal.Journal.of({
        ...reads,
        begin: or(begin),
        cancel: or(cancel),
        clock: or(clock),
        close: or(close),
        decide: or(decide),
        end: or(end),
        forget: or(forget),
        interrupt: or(interrupt),
        open: or(open),
        recordActivity: or(recordActivity),
        recordDeferred: or(recordDeferred)
      })
    })
  ).pipe(Layer.provide(Journal.layer), Layer.provide(Sqlite.layer({ filename: ":memory:" })))
  return Elastic.layer.pipe(Layer.provide(journal))
}
