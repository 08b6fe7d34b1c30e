import * as Worker from "@phalanx/core/Worker"
import { Effect, Ref, Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"

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
