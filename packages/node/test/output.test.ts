import { assert, describe, it } from "@effect/vitest"
import * as output from "../src/internal/output.ts"

describe("what a process prints", () => {
  it("CO-4: a long line is cut between whole characters, and in the same places, in whatever pieces it comes", () => {
    const text = `short\n${"x".repeat(8191)}\u{1f4a1}${"y".repeat(20_000)}\nrest`
    const linesOf = (...pieces: ReadonlyArray<string>): ReadonlyArray<string> => {
      const lines: Array<string> = []
      const { flush, push } = output.splitter((line) => lines.push(line))
      pieces.forEach(push)
      flush()
      return lines
    }
    for (const lines of [linesOf(text), linesOf(text.slice(0, 10_000), text.slice(10_000, 20_000), text.slice(20_000))]) {
      assert.deepStrictEqual(lines.map(({ length }) => length), [5, 8191, 8192, 8192, 3618, 4])
      assert.isTrue(lines.every((line) => line.isWellFormed()))
    }
  })
})
