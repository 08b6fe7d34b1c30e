/**
 * When readers got tokens and how long steps took, and what a change of size cost those who read: from the last token before it to the first one after it, less a normal step.
 */
import * as Effect from "effect/Effect"
import type * as Generator from "../Generator.ts"

/** What one change cost. Times in milliseconds. */
export interface Pause {
  readonly pauseMs: number
  /** The same in normal steps: the median of the twenty before. */
  readonly pauseSteps: number
  readonly stepMs: number
  /** When the last token before it was read, of `performance.now()`. */
  readonly at: number
  /** Requests that had tokens before it and after it. */
  readonly across: number
}

/** A moment of the journal, in milliseconds since 1970: whole ones. */
interface Span {
  readonly began: number
  readonly ended: number
}

/** Steps that make a normal one. */
const usual = 20

const median = (numbers: ReadonlyArray<number>): number => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0

/** A record of tokens and steps, from now on. What lies before a pause that was asked for is forgotten. */
export const make = () => {
  const began = performance.timeOrigin
  const tokens: Array<{ readonly at: number; readonly request: number }> = []
  const replies: Array<number> = []
  let steps = 0
  const waiting = new Set<() => void>()

  /** Waits until something is so, which may change with each step. */
  const until = (done: () => boolean) =>
    Effect.callback<void>((resume) => {
      const look = (): void => {
        if (!done()) return
        waiting.delete(look)
        resume(Effect.void)
      }
      waiting.add(look)
      look()
      return Effect.sync(() => void waiting.delete(look))
    })

  return {
    /** To be called where a reader has got a token; `at` is a moment of `performance.now()`. */
    token: (request: number, at = performance.now()): void => void tokens.push({ at, request }),
    /** To be called after each step. */
    step: ({ replied }: Pick<Generator.Step, "replied">): void => {
      replies.push(replied)
      steps++
      for (const look of waiting) look()
    },
    /** Waits for so many steps. */
    steps: (count: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const last = steps + count
        return until(() => steps >= last)
      }),
    /** After how many steps something is so, at most so many. */
    soon: (most: number, done: () => boolean): Effect.Effect<number> =>
      Effect.suspend(() => {
        const first = steps
        return Effect.map(until(() => done() || steps - first >= most), () => steps - first)
      }),
    /** What the change cost that was made in this span: the longest time without a token. */
    of: (span: Span): Pause => {
      const [first, last] = [span.began - began - 1, span.ended - began + 1]
      const before = Math.max(0, tokens.findLastIndex(({ at }) => at < first))
      let [gap, at] = [0, before]
      for (let i = before; i + 1 < tokens.length && tokens[i]!.at <= last; i++) {
        const length = tokens[i + 1]!.at - tokens[i]!.at
        if (length > gap) [gap, at] = [length, i]
      }
      const from = tokens[at]!.at
      const normal = replies.filter((reply) => reply <= from).slice(-usual - 1)
      const stepMs = median(normal.slice(1).map((reply, i) => reply - normal[i]!))
      const had = new Set(tokens.slice(0, at + 1).map(({ request }) => request))
      const across = new Set(tokens.slice(at + 1).map(({ request }) => request).filter((request) => had.has(request))).size
      tokens.splice(0, at + 1)
      replies.splice(0, normal.length === 0 ? 0 : replies.lastIndexOf(normal.at(-1)!) + 1)
      const pauseMs = Math.max(0, gap - stepMs)
      return { pauseMs, pauseSteps: pauseMs / stepMs, stepMs, at: from, across }
    }
  }
}

/** See `make`. */
export type Pauses = ReturnType<typeof make>
