import { Rpc, RpcGroup } from "effect/rpc";
import * as Schema from "effect/Schema";
import { Transferable } from "effect/workers";
export const group = RpcGroup.make(
  Rpc.make("f", { payload: { x: Transferable.Uint8Array }, success: Schema.Number }),
  Rpc.make("s", { payload: { x: Schema.String }, success: Schema.Number }),
  Rpc.make("hang", { success: Schema.Number }));
