import type { WorkerDied } from "@phalanx/core/WorkerError"
import type { Description, StepReply } from "@phalanx/moe/Moe"

/** Hears what happens, in order, and shows it: to a terminal, to a pipe, or to a program. */
export interface View {
  readonly ready: (ranks: ReadonlyArray<Description>, start: Start) => void
  /** A rank is lost, and serves again, so many milliseconds after the start. */
  readonly died: (died: WorkerDied, millis: number) => void
  readonly restarted: (rank: Description, millis: number) => void
  readonly byte: (index: number, byte: number) => void
  readonly end: (index: number, result: Written) => void
  readonly step: (replies: ReadonlyArray<StepReply>) => void
  readonly load: (load: { readonly running: ReadonlyArray<number>; readonly waiting: number }) => void
  readonly summary: (summary: Summary) => void
}

export interface Start {
  readonly dp: number
  readonly tp: number
  readonly transport: string
  readonly millis: number
}

export interface Written {
  readonly prompt: string
  readonly bytes: ReadonlyArray<number>
  readonly finish: "stop" | "length"
}

export interface Summary {
  readonly prompts: number
  readonly bytes: number
  readonly seconds: number
  readonly firstByteMillis: number
  readonly startMillis: number
  readonly steps: number
  readonly stepMillis: number
  /** Bytes that each rank sent to each. */
  readonly sent: ReadonlyArray<ReadonlyArray<number>>
}

export const text = (bytes: ReadonlyArray<number>): string => new TextDecoder().decode(Uint8Array.from(bytes))

export const startLine = ({ dp, millis, tp, transport }: Start): string =>
  `${dp * tp} ranks (dp ${dp} × tp ${tp}) over ${transport}, ready after ${Math.round(millis)} ms`

export const rankLine = ({ experts, memoryBytes, pid, rank }: Description): string =>
  `rank ${rank}  pid ${pid}  experts ${span(experts)} of each layer  ${Math.round(memoryBytes / 2 ** 20)} MiB`

export const diedLine = ({ pid, rank, reason }: WorkerDied, millis: number): string =>
  `rank ${rank}  pid ${pid ?? "none"}  is gone (${reason}) at ${Math.round(millis)} ms`

export const restartedLine = (rank: Description, millis: number): string => `${rankLine(rank)}  serves again at ${Math.round(millis)} ms`

const span = (experts: ReadonlyArray<number>): string => experts.length === 0 ? "none" : `${experts[0]}–${experts.at(-1)}`

export const summaryLines = (summary: Summary): ReadonlyArray<string> => [
  "",
  `${summary.prompts} entries, ${summary.bytes} bytes in ${summary.seconds.toFixed(2)} s (${
    Math.round(summary.bytes / summary.seconds)
  } bytes/s); ` +
  `first byte after ${Math.round(summary.firstByteMillis)} ms; ${summary.steps} steps, ${summary.stepMillis.toFixed(1)} ms each`,
  ...(summary.sent.length === 1 ? [] : [
    "KiB that ranks sent each other, a row each:",
    ...summary.sent.map((row, rank) => `rank ${rank} ${row.map((bytes) => (bytes / 1024).toFixed(0).padStart(7)).join("")}`)
  ])
]

/** Calls `show` with the values in the order of their index, as soon as those before are there. */
export const inOrder = <A>(show: (value: A) => void): (index: number, value: A) => void => {
  const values = new Map<number, A>()
  let next = 0
  return (index, value) => {
    values.set(index, value)
    while (values.has(next)) {
      show(values.get(next)!)
      values.delete(next++)
    }
  }
}
