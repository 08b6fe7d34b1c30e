/** The bare `exit` event of a child process that holds `bytes` of memory: what the death of a worker of that size costs to learn by itself. */
import { ask, end, gone, start } from "../internal/child.ts"
import type { System } from "../System.ts"

const ExitEvent: System = {
  start: async ({ bytes }) => {
    const child = await start("large.mjs")
    await ask(child, { bytes })
    return {
      pids: [child.pid!],
      sample: () => Promise.reject(new Error("it only dies")),
      hang: () => gone(child),
      stop: () => end([child])
    }
  }
}
export default ExitEvent
