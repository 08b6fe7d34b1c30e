/** Ranks that say who and where they are, and a ledger in which they write down what they do, past all messages. */
import * as CollectiveAborted from "@phalanx/core/CollectiveAborted"
import { Collectives } from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"

/** Who answers, and as what. */
const seat = { call: Schema.Int, member: Schema.Int, incarnation: Schema.Int, epoch: Schema.Int, rank: Schema.Int }
export const Answer = Schema.Struct(seat)
export const Met = Schema.Struct({ ...seat, members: Schema.Array(Schema.Int) })

export class Seats extends RpcGroup.make(
  Rpc.make("work", { payload: { call: Schema.Int, millis: Schema.Int }, success: Answer }),
  /** Tells everybody everybody's number. */
  Rpc.make("meet", { payload: { call: Schema.Int }, success: Met, error: CollectiveAborted.CollectiveAborted }),
  /** What an operation has for the members of the next epoch. */
  Rpc.make("bring", { payload: { operation: Schema.String } })
) {}

/** One building of a worker's layer. */
export interface Life {
  readonly act: number
  readonly member: number
  readonly incarnation: number
  /** The operations that have brought it something. */
  readonly brought: Set<string>
}

/** One run of one handler. */
export interface Entry {
  readonly call: number
  readonly life: Life
  readonly epoch: number
  readonly rank: number
  /** Places in the order of beginnings and ends. */
  readonly from: number
  to: number | undefined
}

export interface Ledger {
  readonly lives: Array<Life>
  readonly entries: Array<Entry>
  order: number
}

export const makeWorker = (ledger: Ledger, act: () => number) =>
  Worker.make(
    Seats,
    Seats.toLayer(Effect.gen(function*() {
      const self = yield* Worker.Self
      const collectives = yield* Collectives
      const { incarnation, member } = self
      const life: Life = { act: act(), member, incarnation, brought: new Set() }
      ledger.lives.push(life)
      const here = (call: number) => ({ call, member, incarnation, epoch: self.epoch, rank: self.rank })
      const written = <A, E>(call: number, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            const entry: Entry = { call, life, epoch: self.epoch, rank: self.rank, from: ledger.order++, to: undefined }
            ledger.entries.push(entry)
            return entry
          }),
          () => effect,
          (entry) => Effect.sync(() => void (entry.to = ledger.order++))
        )
      return Seats.of({
        work: ({ call, millis }) =>
          written(call, Effect.suspend(() => millis === 0 ? Effect.succeed(here(call)) : Effect.as(Effect.sleep(millis), here(call)))),
        meet: ({ call }) =>
          written(
            call,
            Effect.suspend(() => {
              const seat = here(call)
              return Effect.map(
                collectives.allGather(Uint8Array.of(member)),
                (parts) => ({ ...seat, members: parts.map((part) => part[0]!) })
              )
            })
          ),
        bring: ({ operation }) => Effect.sync(() => void life.brought.add(operation))
      })
    }))
  )
