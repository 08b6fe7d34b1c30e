/** What workers print, line by line. */
import type { Readable } from "node:stream"

/** One line that a worker printed. */
export interface Line {
  /** The group's name, with its random part. */
  readonly group: string
  readonly rank: number
  readonly stream: "stdout" | "stderr"
  readonly text: string
}

export type Print = (line: Line) => void

/** On this process's own streams, with who said it. */
export const inherit: Print = ({ group, rank, stream, text }) => void process[stream].write(`[${group} ${rank}] ${text}\n`)

/** Longer lines are cut into pieces of so many characters. */
const longest = 8192

/** Calls `onLine` for every line. The answer hands on what is left without a line break; so does the stream's end. */
export const lines = (stream: Readable, onLine: (text: string) => void): () => void => {
  let rest = ""
  const flush = (): void => {
    if (rest !== "") onLine(rest)
    rest = ""
  }
  stream.setEncoding("utf8").on("end", flush).on("data", (text: string) => {
    const parts = (rest + text).split("\n")
    rest = parts.pop()!
    parts.forEach(onLine)
    for (; rest.length > longest; rest = rest.slice(longest)) onLine(rest.slice(0, longest))
  })
  return flush
}

/** The last lines pushed. */
export interface Tail {
  readonly push: (text: string) => void
  readonly take: () => ReadonlyArray<string>
}

export const makeTail = (count: number): Tail => {
  const kept: Array<string> = []
  return {
    push: (text) => {
      kept.push(text)
      if (kept.length > count) kept.shift()
    },
    take: () => kept.slice()
  }
}
