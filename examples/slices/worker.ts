import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

export class Grid extends RpcGroup.make(Rpc.make("name", { success: Schema.String })) {}

export default Worker.make(
  Grid,
  Grid.toLayer(Effect.gen(function*() {
    const { column, row } = yield* Worker.coordinates("row", "column")
    return Grid.of({ name: () => Effect.succeed(`${"ab"[row]}${column}`) })
  }))
)
