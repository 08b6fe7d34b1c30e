import { Collectives } from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

export class Shard extends RpcGroup.make(
  Rpc.make("put", { payload: { value: Schema.String } }),
  Rpc.make("describe", { success: Schema.String }),
  /** How many ranks meet in a collective. */
  Rpc.make("meet", { success: Schema.Int })
) {}

export default Worker.make(
  Shard,
  Shard.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const collectives = yield* Collectives
    let held = ""
    return Shard.of({
      put: ({ value }) => Effect.sync(() => void (held = value)),
      describe: () => Effect.sync(() => `rank ${self.rank} of ${self.worldSize}, member ${self.member}, holds ${held}`),
      meet: () => Effect.map(Effect.orDie(collectives.allGather(Uint8Array.of(self.rank))), (parts) => parts.length)
    })
  }))
)
