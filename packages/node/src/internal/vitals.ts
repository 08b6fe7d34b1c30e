/** Whether a process runs, and how much processor time it has used. */
import type { Vitals } from "@phalanx/core/Cluster"
import * as Effect from "effect/Effect"
import { parse, type Stat, stat } from "./stat.ts"

const vitalsOf = ({ cpuMillis, state }: Stat): Vitals => ({ state: state === "sleeping" ? "alive" : state, cpuMillis })

/** From what `/proc/PID/stat` of the worker's machine says; an empty text if there is no such process. */
export const read = (text: string): Vitals => text === "" ? { state: "gone", cpuMillis: 0 } : vitalsOf(parse(text))

/** Where there is no `/proc`, nobody can tell a frozen process from a busy one: it counts as busy. */
export const vitals = ({ pid }: { readonly pid?: number | undefined }): Effect.Effect<Vitals> =>
  Effect.sync(() => {
    if (process.platform !== "linux") return { state: "alive", cpuMillis: performance.now() }
    return vitalsOf(stat(pid!))
  })
