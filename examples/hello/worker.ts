import * as Worker from "@phalanx/core/Worker"
import { Effect, Ref, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

export class Adder extends RpcGroup.make(
  Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int })
) {}

export default Worker.make(
  Adder,
  Adder.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const total = yield* Ref.make(0)
    return Adder.of({ add: ({ n }) => Ref.updateAndGet(total, (sum) => sum + n * self.rank) })
  }))
)
