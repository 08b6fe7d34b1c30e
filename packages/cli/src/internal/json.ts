import { inOrder, text, type View, type Written } from "./view.ts"

/** One object a line; results in the order of the prompts, so that two runs can be compared. */
export const make = (): View => {
  const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)
  return {
    ready: (ranks, start) => {
      say({ type: "start", ...start })
      for (const rank of ranks) say({ type: "rank", ...rank })
    },
    died: ({ death, incarnation, pid, rank, reason }, millis) => say({ type: "died", rank, incarnation, pid, reason, death, millis }),
    restarted: (rank, millis) => say({ type: "restarted", ...rank, millis }),
    byte: () => {},
    end: inOrder(({ bytes, finish, prompt }: Written) => say({ type: "result", prompt, text: text(bytes), bytes, finish })),
    step: () => {},
    load: () => {},
    summary: (summary) => say({ type: "summary", ...summary })
  }
}
