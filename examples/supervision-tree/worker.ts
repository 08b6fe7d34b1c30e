import * as Worker from "@phalanx/core/Worker"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

export class Node extends RpcGroup.make(Rpc.make("pid", { success: Schema.Int })) {}

export default Worker.make(Node, Node.toLayer({ pid: () => Effect.sync(() => process.pid) }))
