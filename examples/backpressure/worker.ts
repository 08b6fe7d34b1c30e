import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

export class Desk extends RpcGroup.make(
  Rpc.make("serve", { payload: { customer: Schema.Int }, success: Schema.Int })
) {}

export default Worker.make(
  Desk,
  Desk.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    return Desk.of({ serve: ({ customer }) => Effect.delay(Effect.succeed(customer), self.rank === 0 ? "50 millis" : "0 millis") })
  }))
)
