/** Lines as they come, kept until somebody hears them. */
import type { Readable } from "node:stream"

export const make = (stream: Readable) => {
  const waiting: Array<string> = []
  let hear: ((line: string) => void) | undefined
  let rest = ""
  const deliver = (): void => {
    for (let line = take(); line !== undefined; line = take()) hear?.(line)
  }
  const take = (): string | undefined => hear === undefined ? undefined : waiting.shift()
  stream.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n")
    rest = lines.pop()!
    waiting.push(...lines)
    deliver()
  })
  return {
    /** Has the next line heard, and no other one. */
    next: (f: (line: string) => void): void => {
      hear = (line) => {
        hear = undefined
        f(line)
      }
      deliver()
    },
    /** Has every line heard from here on. */
    each: (f: (line: string) => void): void => {
      hear = f
      deliver()
    }
  }
}
