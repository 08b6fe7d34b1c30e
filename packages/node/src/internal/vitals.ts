/** Whether a process runs, and how much processor time it has used. */
import type { Vitals } from "@phalanx/core/Cluster"
import * as Effect from "effect/Effect"
import { stat } from "./stat.ts"

/** Where there is no `/proc`, nobody can tell a frozen process from a busy one: it counts as busy. */
export const vitals = ({ pid }: { readonly pid?: number | undefined }): Effect.Effect<Vitals> =>
  Effect.sync(() => {
    if (process.platform !== "linux") return { state: "alive", cpuMillis: performance.now() }
    const { cpuMillis, state } = stat(pid!)
    return { state: state === "sleeping" ? "alive" : state, cpuMillis }
  })
