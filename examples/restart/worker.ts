import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

const Totals = Schema.Array(Schema.Int)

export class Counter extends RpcGroup.make(
  Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int }),
  Rpc.make("restore", { payload: { total: Schema.Int } }),
  /** Keeps a copy of every rank's total. */
  Rpc.make("keep", { payload: { totals: Totals } }),
  Rpc.make("kept", { success: Totals })
) {}

export default Worker.make(
  Counter,
  Counter.toLayer(Effect.sync(() => {
    let total = 0
    let kept: ReadonlyArray<number> = []
    return Counter.of({
      add: ({ n }) => Effect.sync(() => total += n),
      restore: (copy) => Effect.sync(() => void (total = copy.total)),
      keep: ({ totals }) => Effect.sync(() => void (kept = totals)),
      kept: () => Effect.sync(() => kept)
    })
  }))
)
