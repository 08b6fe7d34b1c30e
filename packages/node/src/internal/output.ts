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

/** Longer lines are cut into pieces of at most so many UTF-16 units. */
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
  /** Hands on what is too long of a line, but no half of a character; the last piece is the answer. */
  const cut = (line: string): string => {
    for (; line.length > longest;) {
      const at = line.codePointAt(longest - 1)! > 0xffff ? longest - 1 : longest
      onLine(line.slice(0, at))
      line = line.slice(at)
    }
    return line
  }
  return {
    push: (text) => {
      const parts = (rest + text).split("\n")
      const last = parts.pop()!
      for (const line of parts) onLine(cut(line))
      rest = cut(last)
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
