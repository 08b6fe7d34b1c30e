import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import { Concurrent } from "./self.ts"

export class Refused extends Schema.TaggedError<Refused>()("Refused", { rank: Schema.Int }) {}

/** One method for each way a call can go. */
export class Probe extends RpcGroup.make(
  Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int }),
  Rpc.make("whoami", {
    success: Schema.Struct({ rank: Schema.Int, dp: Schema.Int, tp: Schema.Int, incarnation: Schema.Int, epoch: Schema.Int })
  }),
  Rpc.make("refuse", { payload: { rank: Schema.Int }, error: Refused }),
  Rpc.make("crash", { payload: { rank: Schema.Int } }),
  Rpc.make("quit"),
  Rpc.make("lie", { success: Schema.Int }),
  Rpc.make("lieInError", { error: Refused }),
  /** Runs until `open` is called or it is interrupted. */
  Rpc.make("hold", { payload: { label: Schema.String }, success: Schema.String }),
  Rpc.make("open", { payload: { label: Schema.String } }).annotate(Concurrent, true),
  Rpc.make("count", { payload: { to: Schema.Int }, success: Schema.Int, error: Refused, stream: true }).annotate(Concurrent, true),
  Rpc.make("echo", {
    payload: { when: Schema.Date, bytes: Schema.Uint8Array },
    success: Schema.Struct({ when: Schema.Date, bytes: Schema.Uint8Array })
  }),
  Rpc.make("span", {
    success: Schema.Struct({ traceId: Schema.String, parent: Schema.String, parentId: Schema.String, header: Schema.String })
  }),
  Rpc.make("meet", { success: Schema.Array(Schema.Int) }),
  /** What happened here so far, in order. */
  Rpc.make("log", { success: Schema.Array(Schema.String) }).annotate(Concurrent, true),
  /** Makes the worker as it was when it started. Waits its turn, so that what was asked before has ended. */
  Rpc.make("forget")
) {}
