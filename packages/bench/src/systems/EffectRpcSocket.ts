/** `effect/rpc` over a unix socket to each worker process: lines of JSON for short payloads, its binary form for long ones. */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { end, start } from "../internal/child.ts"
import { startClients } from "../internal/rpcClients.ts"
import { small, type System } from "../System.ts"

const EffectRpcSocket: System = {
  start: async (setting) => {
    const folder = await mkdtemp(join(tmpdir(), "phalanx-bench-"))
    const path = (index: number) => join(folder, String(index))
    const binary = setting.bytes > small
    const children = await Promise.all(
      Array.from({ length: setting.workers }, (_, index) => start("rpcSocket.mjs", { args: [path(index), binary ? "binary" : "ndjson"] }))
    )
    const clients = await startClients(setting, (index) =>
      RpcClient.layerProtocolSocket().pipe(
        Layer.provide(NodeSocket.layerNet({ path: path(index) })),
        Layer.provide(binary ? RpcSerialization.layerSchemaBinary() : RpcSerialization.layerNdjson)
      ))
    return {
      pids: children.map((child) => child.pid!),
      sample: clients.sample,
      hang: clients.hang,
      stop: async () => {
        await clients.close()
        await end(children)
        await rm(folder, { recursive: true })
      }
    }
  }
}
export default EffectRpcSocket
