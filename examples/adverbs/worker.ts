import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

export class Tired extends Schema.TaggedError<Tired>()("Tired", { rank: Schema.Int }) {}

export class Squad extends RpcGroup.make(
  Rpc.make("march", { payload: { steps: Schema.Int }, success: Schema.Int, error: Tired }),
  Rpc.make("orders", { success: Schema.Int })
) {}

/** Rank 3 marches 100 steps and no more. */
export default Worker.make(
  Squad,
  Squad.toLayer(Effect.gen(function*() {
    const { rank } = yield* Worker.Self
    let orders = 0
    return Squad.of({
      march: ({ steps }) =>
        Effect.suspend(() => {
          orders++
          return rank === 3 && steps > 100 ? Effect.fail(new Tired({ rank })) : Effect.succeed(steps + rank)
        }),
      orders: () => Effect.sync(() => orders)
    })
  }))
)
