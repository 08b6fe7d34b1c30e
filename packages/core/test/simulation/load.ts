/**
 * A protocol that asks everything of a group, and a worker that writes down what it does. The ledger is what the oracle believes: handlers write to it
 * directly, past all messages.
 */
import * as CollectiveAborted from "@phalanx/core/CollectiveAborted"
import * as Collectives from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema, Stream } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"

/** How a handler ends. */
export const Fate = Schema.Literals(["reply", "error", "defect", "quit", "lie"])
export type Fate = typeof Fate.Type

export class Refused extends Schema.TaggedError<Refused>()("Refused", { call: Schema.Int, member: Schema.Int, incarnation: Schema.Int }) {}

export const Answer = Schema.Struct({ call: Schema.Int, member: Schema.Int, incarnation: Schema.Int, proof: Schema.Int })

const ask = { call: Schema.Int, millis: Schema.Int, fate: Fate }

export class Load extends RpcGroup.make(
  Rpc.make("work", { payload: ask, success: Answer, error: Refused }),
  Rpc.make("aside", { payload: ask, success: Answer, error: Refused }).annotate(Worker.Concurrent, true),
  Rpc.make("flow", {
    payload: { call: Schema.Int, count: Schema.Int, millis: Schema.Int },
    success: Answer,
    error: Refused,
    stream: true
  }).annotate(Worker.Concurrent, true),
  /** What the group's hook calls before a new life is open to others. */
  Rpc.make("restore"),
  Rpc.make("meet", { payload: { call: Schema.Int }, success: Schema.Int, error: CollectiveAborted.CollectiveAborted })
) {}

/** One building of a worker's layer. */
export interface Life {
  readonly act: number
  readonly member: number
  readonly incarnation: number
  readonly coordinates: string
  /** Set by `restore`. */
  restored: boolean
}

/** One run of one handler. */
export interface Entry {
  readonly method: string
  readonly call: number
  readonly life: Life
  /** Places in the ledger's order of beginnings and ends. */
  readonly from: number
  to: number | undefined
  /** In the world's time. */
  ended: number | undefined
}

/** What the workers of one run have done, in the order in which they did it. */
export interface Ledger {
  readonly entries: Array<Entry>
  readonly lives: Array<Life>
  order: number
}

/** What only the right handler of the right life computes. */
export const proof = (call: number, member: number, incarnation: number, nth = 0): number =>
  ((call * 10 + member) * 100 + incarnation) * 10 + nth

export const makeWorker = (ledger: Ledger, millis: () => number, act: () => number) =>
  Worker.make(
    Load,
    Load.toLayer(Effect.gen(function*() {
      const self = yield* Worker.Self
      const { incarnation, member } = self
      const collectives = yield* Collectives.Collectives
      const coordinates = JSON.stringify(yield* Worker.coordinates("dp", "tp"))
      const life: Life = { act: act(), member, incarnation, coordinates, restored: false }
      ledger.lives.push(life)

      const begin = (method: string, call: number): Entry => {
        const entry: Entry = { method, call, life, from: ledger.order++, to: undefined, ended: undefined }
        ledger.entries.push(entry)
        return entry
      }
      const end = (entry: Entry): void => {
        entry.to = ledger.order++
        entry.ended = millis()
      }
      /** A handler that is interrupted before its first step has not begun; one that has begun is seen to end. */
      const written = <A, E>(method: string, call: number, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        Effect.acquireUseRelease(Effect.sync(() => begin(method, call)), () => effect, (entry) => Effect.sync(() => end(entry)))

      const work =
        (method: string) => ({ call, fate, millis }: { readonly call: number; readonly fate: Fate; readonly millis: number }) => {
          const answer = { call, member, incarnation, proof: proof(call, member, incarnation) }
          if (fate === "reply" && millis === 0) {
            end(begin(method, call))
            return Effect.succeed(answer)
          }
          const fated = Effect.suspend((): Effect.Effect<typeof answer, Refused> => {
            switch (fate) {
              case "reply":
                return Effect.succeed(answer)
              case "error":
                return Effect.fail(new Refused({ call, member, incarnation }))
              case "defect":
                return Effect.die(`defect of call ${call}`)
              case "quit":
                return Effect.interrupt
              case "lie":
                return Effect.succeed({ ...answer, proof: 0.5 })
            }
          })
          return written(method, call, millis === 0 ? fated : Effect.delay(fated, millis))
        }
      return Load.of({
        work: work("work"),
        aside: work("aside"),
        flow: ({ call, count, millis }) => {
          const elements = Stream.range(0, count - 1).pipe(
            Stream.rechunk(2),
            Stream.mapEffect((nth) =>
              Effect.delay(
                Effect.succeed({
                  call,
                  member,
                  incarnation,
                  proof: proof(call, member, incarnation, nth)
                }),
                millis
              )
            )
          )
          return Stream.unwrap(
            Effect.as(Effect.acquireRelease(Effect.sync(() => begin("flow", call)), (entry) => Effect.sync(() => end(entry))), elements)
          )
        },
        restore: () => Effect.sync(() => void (life.restored = true)),
        // By the communicator's index: in a call from before the group changed, the rank may be the new one already.
        meet: ({ call }) =>
          written(
            "meet",
            call,
            Effect.suspend(() => Effect.map(collectives.allReduce(Int32Array.of(call + collectives.index)), ([sum]) => sum!))
          )
      })
    }))
  )
