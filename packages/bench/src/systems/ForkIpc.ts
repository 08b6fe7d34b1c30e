/**
 * `child_process.fork` and nothing else: a message to each worker, a message back. Short payloads are strings and use the default JSON
 * serialization, long ones bytes and the advanced one, which is the faster for each.
 */
import { end, gone, start } from "../internal/child.ts"
import { promises } from "../Sampling.ts"
import { buffer, small, type System, text } from "../System.ts"

const ForkIpc: System = {
  start: async ({ bytes, workers }) => {
    const short = bytes <= small
    const children = await Promise.all(
      Array.from({ length: workers }, () => start("fork.mjs", { serialization: short ? "json" : "advanced" }))
    )
    const pending: Array<((answer: number) => void) | undefined> = []
    children.forEach((child, index) =>
      child.on("message", (answer: number) => {
        const resolve = pending[index]
        pending[index] = undefined
        resolve?.(answer)
      })
    )
    const x = short ? text(bytes) : buffer(bytes)
    return {
      pids: children.map((child) => child.pid!),
      sample: promises(workers, bytes, () =>
        Promise.all(children.map((child, index) =>
          new Promise<number>((resolve) => {
            pending[index] = resolve
            child.send({ x })
          })
        ))),
      hang: () => {
        children[0]!.send({ hang: 1 })
        return gone(children[0]!)
      },
      stop: () => end(children)
    }
  }
}
export default ForkIpc
