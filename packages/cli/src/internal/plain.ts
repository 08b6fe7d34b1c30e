import { diedLine, inOrder, rankLine, restartedLine, startLine, summaryLines, text, type View, type Written } from "./view.ts"

/** Whole lines for a pipe: the ranks, each entry when it is complete, in the order of the prompts, and the summary. */
export const make = (): View => {
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  return {
    ready: (ranks, start) => [startLine(start), ...ranks.map(rankLine)].forEach(say),
    died: (died, millis) => say(diedLine(died, millis)),
    restarted: (rank, millis) => say(restartedLine(rank, millis)),
    byte: () => {},
    end: inOrder(({ bytes, finish, prompt }: Written) => say(`\n${prompt}\n${text(bytes)}${finish === "length" ? " …" : ""}`)),
    step: () => {},
    load: () => {},
    summary: (summary) => summaryLines(summary).forEach(say)
  }
}
