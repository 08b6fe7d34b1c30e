import type { Rpc, RpcGroup } from "effect/rpc";
import type * as Schema from "effect/Schema";
import type { Transferable } from "effect/workers";
export declare const group: RpcGroup.RpcGroup<
  | Rpc.Rpc<"f", Schema.Struct<{ x: typeof Transferable.Uint8Array }>, typeof Schema.Number>
  | Rpc.Rpc<"s", Schema.Struct<{ x: typeof Schema.String }>, typeof Schema.Number>
  | Rpc.Rpc<"hang", typeof Schema.Void, typeof Schema.Number>
>;
