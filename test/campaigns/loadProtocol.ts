import * as Worker from "@phalanx/core/Worker"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

/** What a driver asks of its workers while it waits to be killed. */
export class Load extends RpcGroup.make(
  Rpc.make("echo", { payload: { bytes: Schema.Uint8Array }, success: Schema.Uint8Array }),
  Rpc.make("count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true }).annotate(Worker.Concurrent, true),
  /** All ranks together, over lanes of their own. */
  Rpc.make("gather", { payload: { bytes: Schema.Int }, success: Schema.Int }),
  /** Never lets go of the event loop. */
  Rpc.make("block")
) {}
