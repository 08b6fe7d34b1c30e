/** The protocol of workers that are killed, frozen and met. */
import { CollectiveAborted } from "@phalanx/core/CollectiveAborted"
import * as Worker from "@phalanx/core/Worker"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

export class Mortal extends RpcGroup.make(
  Rpc.make("hello", { payload: { n: Schema.Int }, success: Schema.Int }),
  /** Never answers; the event loop is free. */
  Rpc.make("hold").annotate(Worker.Concurrent, true),
  /** Computes for so long without yielding. */
  Rpc.make("compute", { payload: { millis: Schema.Int } }),
  Rpc.make("echo", { payload: { bytes: Schema.Uint8Array }, success: Schema.Uint8Array }),
  Rpc.make("count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true }).annotate(Worker.Concurrent, true),
  /** Resident memory in bytes, after a collection. */
  Rpc.make("resident", { success: Schema.Int }),
  /** Waits for all other ranks. */
  Rpc.make("meet", { error: CollectiveAborted })
) {}
