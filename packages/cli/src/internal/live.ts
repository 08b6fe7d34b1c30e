import type { Description } from "@phalanx/moe/Moe"
import * as Effect from "effect/Effect"
import type { WriteStream } from "node:tty"
import { diedLine, rankLine, startLine, summaryLines, text, type View } from "./view.ts"

const bold = (line: string): string => `\x1b[1m${line}\x1b[0m`
const faint = (line: string): string => `\x1b[2m${line}\x1b[0m`
/** Milliseconds between two drawings. */
const pace = 33

/** Text scrolls as it is written, entry by entry; below it stands one line a rank. */
export const make = Effect.fnUntraced(function*(out: WriteStream, words: ReadonlyArray<string>) {
  let ranks: ReadonlyArray<Description> = []
  /** What the line of a rank that is gone says. */
  const lost = new Map<number, string>()
  let tp = 1
  let running: ReadonlyArray<number> = []
  /** Bytes that owners wrote within the last second. */
  let recent: Array<{ readonly at: number; readonly rank: number }> = []
  const entries = words.map(() => ({ bytes: [] as Array<number>, finish: undefined as "stop" | "length" | undefined, shown: 0 }))
  let current = 0
  /** Lines of the part that is drawn anew each time. */
  let height = 0
  let drawn = 0

  const columns = (): number => Math.max(20, out.columns ?? 80)
  const wrap = (line: string): Array<string> => {
    const rows = [line.slice(0, columns() - 1)]
    for (let at = columns() - 1; at < line.length; at += columns() - 1) rows.push(line.slice(at, at + columns() - 1))
    return rows
  }
  const rankLines = (): Array<string> => {
    const now = performance.now()
    recent = recent.filter(({ at }) => now - at < 1000)
    return ranks.map((rank) => {
      const gone = lost.get(rank.rank)
      if (gone !== undefined) return gone.slice(0, columns() - 1)
      const rate = recent.filter((byte) => byte.rank === rank.rank).length
      return `${rankLine(rank)}  ${running[Math.floor(rank.rank / tp)] ?? 0} running  ${rate} bytes/s`.slice(0, columns() - 1)
    })
  }
  const draw = (): void => {
    drawn = performance.now()
    const settled: Array<string> = []
    let open: Array<string> = []
    for (; current < entries.length; current++) {
      const entry = entries[current]!
      if (entry.bytes.length === 0 && entry.finish === undefined) break
      if (entry.shown === 0) settled.push("", bold(words[current]!))
      const lines = (text(entry.bytes) + (entry.finish === "length" ? " …" : "")).split("\n")
      const whole = entry.finish === undefined ? lines.length - 1 : lines.length
      for (const line of lines.slice(Math.max(0, entry.shown - 1), whole)) settled.push(...wrap(line))
      entry.shown = whole + 1
      if (entry.finish === undefined) {
        open = wrap(lines.at(-1)!)
        break
      }
    }
    const below = [...open, "", ...rankLines().map(faint)]
    out.write(`${height === 0 ? "" : `\x1b[${height}A`}\r\x1b[0J${[...settled, ...below].map((line) => `${line}\n`).join("")}`)
    height = below.length
  }
  const redraw = (): void => {
    if (performance.now() - drawn > pace) draw()
  }
  // Whatever ends the program, what was written last stays on the screen.
  yield* Effect.addFinalizer(() => Effect.sync(() => ranks.length > 0 ? draw() : undefined))

  const view: View = {
    ready: (described, start) => {
      ranks = described
      tp = start.tp
      out.write(`${startLine(start)}\n`)
      draw()
    },
    died: (died, millis) => {
      lost.set(died.rank, diedLine(died, millis))
      draw()
    },
    restarted: (rank) => {
      lost.delete(rank.rank)
      ranks = ranks.with(rank.rank, rank)
      draw()
    },
    byte: (index, byte) => {
      entries[index]!.bytes.push(byte)
      redraw()
    },
    end: (index, { finish }) => {
      entries[index]!.finish = finish
      draw()
    },
    step: (replies) => {
      const at = performance.now()
      replies.forEach(({ tokens }, rank) => tokens.forEach(() => recent.push({ at, rank })))
    },
    load: (load) => {
      running = load.running
      redraw()
    },
    summary: (summary) => {
      draw()
      ranks = []
      out.write(`${summaryLines(summary).join("\n")}\n`)
    }
  }
  return view
})
