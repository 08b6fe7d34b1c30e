import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { WriteStream } from "node:tty"
import * as Live from "../src/internal/live.ts"

const rank = (rank: number) => ({ rank, pid: 100 + rank, experts: [rank], bytesRead: 0, node: "here", memoryBytes: 1 << 20, requests: 32 })

/** What a terminal shows in the end: lines, with the cursor moving up and erasing below. */
const screen = (written: string): Array<string> => {
  const lines = [""]
  let row = 0
  // oxlint-disable-next-line no-control-regex -- control characters are what a terminal is told with
  for (const [, up, erase, newline, style, text] of written.matchAll(/\x1b\[(\d+)A|(\x1b\[0J)|(\n)|(\x1b\[\d*m|\r)|([^\x1b\n\r]+)/g)) {
    if (up !== undefined) row -= Number(up)
    else if (erase !== undefined) lines.splice(row, lines.length, "")
    else if (newline !== undefined) lines[++row] ??= ""
    else if (style === undefined) lines[row] = `${lines[row]}${text}`
  }
  return lines
}

describe("live view", () => {
  it.effect("shows entries in order as they are written, above one line a rank", () =>
    Effect.gen(function*() {
      let written = ""
      const out = { columns: 60, write: (text: string) => written += text } as unknown as WriteStream
      const view = yield* Live.make(out, ["first", "second"])
      const write = (index: number, text: string) => Buffer.from(text).forEach((byte) => view.byte(index, byte))
      view.ready([rank(0), rank(1)], { dp: 2, tp: 1, transport: "shm", millis: 5 })
      write(1, "two")
      view.end(1, { prompt: "second", bytes: [], finish: "length" })
      write(0, "n 1: one\nn 2: more")
      view.step([{ tokens: [[0, 1], [1, 2]], dropped: 0, began: 0, ended: 0, waited: 0 }])
      view.load({ running: [1, 0], waiting: 0 })
      view.end(0, { prompt: "first", bytes: [], finish: "stop" })
      view.summary({ prompts: 2, bytes: 21, seconds: 1, firstByteMillis: 1, startMillis: 5, steps: 3, stepMillis: 2, sent: [[0]] })
      const shown = screen(written).map((line) => line.trimEnd())
      assert.deepStrictEqual(shown.slice(0, 9), [
        "2 ranks (dp 2 × tp 1) over shm, ready after 5 ms",
        "",
        "first",
        "n 1: one",
        "n 2: more",
        "",
        "second",
        "two …",
        ""
      ])
      assert.match(shown[9]!, /^rank 0 {2}pid 100 {2}experts 0–0/)
      assert.match(shown[10]!, /^rank 1 {2}pid 101/)
      assert.isTrue(shown.every((line) => line.length < 60 || line.includes("entries")))
    }))
})
