/**
 * `effect/rpc` as it comes, over the IPC channel of child processes: a client a worker, tracing off, all of them asked at once from one fiber.
 * Short payloads are strings, long ones transferable bytes with the advanced serialization.
 */
import * as NodeWorker from "@effect/platform-node/NodeWorker"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import type { ChildProcess } from "node:child_process"
import { end, gone, spawn } from "../internal/child.ts"
import { startClients } from "../internal/rpcClients.ts"
import type { System } from "../System.ts"

const EffectRpc: System = {
  start: async (setting) => {
    const children: Array<ChildProcess> = []
    const protocol = RpcClient.layerProtocolWorker({ size: 1, concurrency: 16 }).pipe(
      Layer.provide(NodeWorker.layer(() => {
        const child = spawn("rpcWorker.mjs", { serialization: "advanced" })
        children.push(child)
        return child
      }))
    )
    const clients = await startClients(setting, () => protocol)
    return {
      pids: children.map((child) => child.pid!),
      sample: clients.sample,
      hang: clients.hang,
      stop: async () => {
        await end(children)
        await Promise.all([clients.close(), ...children.map(gone)])
      }
    }
  }
}
export default EffectRpc
