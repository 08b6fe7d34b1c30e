/** The protocol of the benches' worker: it answers with the length of what it was given. */
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

export class Echo extends RpcGroup.make(
  Rpc.make("text", { payload: { x: Schema.String }, success: Schema.Int }),
  Rpc.make("bytes", { payload: { x: Schema.Uint8Array }, success: Schema.Int }),
  /** Never returns and never yields. */
  Rpc.make("hang", { success: Schema.Int })
) {}
