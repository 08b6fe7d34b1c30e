/** What a worker's process says, by whatever way it comes: lines, the last of them, why it ends, and how it has ended. */
import type { End } from "@phalanx/core/Cluster"
import type { FlightEvent } from "@phalanx/core/FlightRecorder"
import { type Death, Reason } from "@phalanx/core/WorkerError"
import * as Schema from "effect/Schema"
import * as output from "./output.ts"

export interface Listener {
  readonly stdout: output.Splitter
  readonly stderr: output.Splitter
  /** The pipe on which a process says why it ends (`lastWords.ts`). */
  readonly words: output.Splitter
  /** The last lines of standard error so far. */
  readonly tail: () => ReadonlyArray<string>
  /** The end, once nothing more will be heard. */
  readonly end: (code: number | null, signal: string | null, flight: ReadonlyArray<FlightEvent>) => End
}

const tailLines = 20

/** What V8 says before it aborts. It stands above a long stack, so that the last lines need not contain it. */
const heapIsFull = "JavaScript heap out of memory"

const isReason = Schema.is(Reason)

const deathOf = (code: number | null, signal: string | null): Death => {
  if (code === null) return { _tag: "Killed", signal: signal! }
  // A worker that was told to end and did so in order says so by this number.
  return code === 143 ? { _tag: "Killed", signal: "SIGTERM" } : { _tag: "Exited", code }
}

export const make = (group: string, rank: number, print: output.Print | undefined): Listener => {
  const stderr = output.makeTail(tailLines)
  let reason: Reason | undefined
  const ears = {
    stdout: output.splitter((text) => print?.({ group, rank, stream: "stdout", text })),
    stderr: output.splitter((text) => {
      stderr.push(text)
      if (text.includes(heapIsFull)) reason = "out-of-memory"
      print?.({ group, rank, stream: "stderr", text })
    }),
    words: output.splitter((text) => {
      if (isReason(text)) reason = text
    })
  }
  return {
    ...ears,
    tail: stderr.take,
    end: (code, signal, flight) => {
      for (const ear of Object.values(ears)) ear.flush()
      // A heap that is full ends in SIGABRT; any program may print the words.
      const known = reason === "out-of-memory" && signal !== "SIGABRT" ? undefined : reason
      return { death: deathOf(code, signal), reason: known, stderr: stderr.take(), flight }
    }
  }
}
