/** Tells whoever started this process why it ends, where Node's exit code does not: what was thrown, and nobody caught, is exit code 1 like much else. */
import type { Reason } from "@phalanx/core/WorkerError"
import { writeSync } from "node:fs"

/** Which pipe the parent reads. */
const pipe = 3

const reasons: Record<NodeJS.UncaughtExceptionOrigin, Reason> = {
  uncaughtException: "uncaught-exception",
  unhandledRejection: "unhandled-rejection"
}

/** From here on. Node prints the stack and ends the process, as it does without. */
export const listen = (): void => {
  process.on("uncaughtExceptionMonitor", (_, origin) => {
    try {
      writeSync(pipe, `${reasons[origin]}\n`)
    } catch {
      // Nobody listens.
    }
  })
}
