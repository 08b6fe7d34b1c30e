/** The process that one system is driven from: does what the harness orders, one order at a time, and ends its workers when the harness is gone. */
import process from "node:process"
import type { Order, Report } from "../Driver.ts"
import type { Running, System } from "../System.ts"

const system: System = (await import(process.argv[2]!)).default
let running: Running | undefined

const stop = async (): Promise<void> => {
  const stopping = running
  running = undefined
  await stopping?.stop()
}

const since = (start: number): ReadonlyArray<number> => [(performance.now() - start) * 1000]

const obey = async (order: Order): Promise<Report> => {
  switch (order._tag) {
    case "Start": {
      const start = performance.now()
      running = await system.start(order.setting)
      return { micros: since(start), pids: running.pids }
    }
    case "Sample":
      return { micros: await running!.sample(order.sampling), pids: running!.pids }
    case "Kill": {
      const told = running!.hang!()
      // Time for the handler to have begun.
      await new Promise((resolve) => void setTimeout(resolve, 300))
      const start = performance.now()
      process.kill(running!.pids[0]!, "SIGKILL")
      await told
      return { micros: since(start), pids: [] }
    }
    case "Stop":
      await stop()
      return { micros: [], pids: [] }
  }
}

process.on("message", (order: Order) => {
  obey(order).catch((cause: unknown): Report => ({
    micros: [],
    pids: [],
    failure: cause instanceof Error ? cause.stack ?? cause.message : String(cause)
  }))
    .then((report) => {
      if (process.connected) process.send!(report)
    })
})
process.on("disconnect", () => void stop().finally(() => process.exit()))
// A signal to the whole foreground reaches the harness too, which ends its drivers in order.
process.on("SIGINT", () => {})
process.on("SIGTERM", () => process.disconnect!())
const ready: Report = { micros: [], pids: [] }
process.send!(ready)
