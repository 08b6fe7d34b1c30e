/** What workers print, line by line. */
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

/** Takes the text of one stream in pieces, as they come. */
export interface Splitter {
  readonly push: (piece: string) => void
  /** Hands on what is left without a line break. */
  readonly flush: () => void
}

/** Makes lines of pieces of text. */
export const splitter = (onLine: (text: string) => void): Splitter => {
  let rest = ""
  return {
    push: (text) => {
      const parts = (rest + text).split("\n")
      rest = parts.pop()!
      parts.forEach(onLine)
      for (; rest.length > longest; rest = rest.slice(longest)) onLine(rest.slice(0, longest))
    },
    flush: () => {
      if (rest !== "") onLine(rest)
      rest = ""
    }
  }
}

/** The last lines pushed. */
interface Tail {
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
