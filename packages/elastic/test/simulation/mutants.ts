/** Bugs that are put into the shipped code to see whether the simulation finds them. */
import type { Mutant } from "../../../../test/harness/hunting.ts"

const core = (file: string) => `packages/core/src/internal/${file}.ts`
const elastic = (file: string) => `packages/elastic/src/${file}.ts`

export const mutants: Readonly<Record<string, Mutant>> = {
  "a commit forgets those who join": {
    file: core("standby"),
    from: "publisher().publish(packed, hearing.map(({ id }) => id))",
    to: "publisher().publish(packed, former.map(({ id }) => id))"
  },
  "a member that leaves is dismissed before it has answered": {
    file: core("standby"),
    from: "Effect.andThen(finished(member), supervisor.dismiss(member))",
    to: "supervisor.dismiss(member)",
    shows: "GR-5",
    seed: 597
  },
  "a group that is taken over is in the epoch that was recorded": {
    file: core("takeover"),
    from: "Math.max(recorded.epoch, ...known.map(([, answer]) => answer.epoch))",
    to: "recorded.epoch",
    seed: 10
  },
  "a successor's calls have the numbers of its predecessor's": {
    file: core("takeover"),
    from: "out.from(Math.max(0, ...[...answers.values()].map(({ next }) => next)))",
    to: ""
  },
  "an operation that was decided is carried out once more": {
    file: elastic("ResizableGroup"),
    from: "if (isReached(now, resize)) {",
    to: "if (false as boolean) {",
    seed: 46
  },
  "messages between ranks do not say for which call they are": {
    file: core("calls"),
    from: "call === noCall ? noMark : call % marks + 1",
    to: "noMark",
    seed: 201
  }
}
