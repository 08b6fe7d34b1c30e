/** `worker_threads` and nothing else: `postMessage` of a `Uint8Array`, copied, to each thread, a number back. */
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import { promises } from "../Sampling.ts"
import type { System } from "../System.ts"

const Threads: System = {
  start: async ({ bytes, workers }) => {
    const threads = await Promise.all(Array.from({ length: workers }, async () => {
      const thread = new Worker(new URL("../../rivals/thread.mjs", import.meta.url))
      await once(thread, "message")
      return thread
    }))
    const pending: Array<((answer: number) => void) | undefined> = []
    threads.forEach((thread, index) =>
      thread.on("message", (answer: number) => {
        const resolve = pending[index]
        pending[index] = undefined
        resolve?.(answer)
      })
    )
    const x = new Uint8Array(bytes).fill(120)
    return {
      pids: [],
      sample: promises(workers, bytes, () =>
        Promise.all(threads.map((thread, index) =>
          new Promise<number>((resolve) => {
            pending[index] = resolve
            // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that rule means windows
            thread.postMessage(x)
          })
        ))),
      stop: async () => void await Promise.all(threads.map((thread) => thread.terminate()))
    }
  }
}
export default Threads
