/** Bare ZeroMQ: a pair of sockets on an `ipc://` address for each worker process, bytes there, four bytes back. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Pair } from "zeromq"
import { end, start } from "../internal/child.ts"
import { promises } from "../Sampling.ts"
import { buffer, type System } from "../System.ts"

const ZeroMq: System = {
  start: async ({ bytes, workers }) => {
    const folder = await mkdtemp(join(tmpdir(), "phalanx-bench-"))
    const peers = await Promise.all(Array.from({ length: workers }, async (_, index) => {
      const socket = new Pair({ linger: 0 })
      const endpoint = `ipc://${folder}/${index}`
      await socket.bind(endpoint)
      return { socket, child: await start("zeromq.mjs", { args: [endpoint] }) }
    }))
    const x = buffer(bytes)
    const one = async (socket: Pair): Promise<number> => {
      await socket.send(x)
      return (await socket.receive())[0]!.readUInt32LE()
    }
    return {
      pids: peers.map(({ child }) => child.pid!),
      sample: promises(workers, bytes, () => Promise.all(peers.map(({ socket }) => one(socket)))),
      stop: async () => {
        for (const { socket } of peers) socket.close()
        await end(peers.map(({ child }) => child))
        await rm(folder, { recursive: true })
      }
    }
  }
}
export default ZeroMq
