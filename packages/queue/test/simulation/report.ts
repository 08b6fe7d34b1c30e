/** What a person is told of a seed that fails. */
import type { Outcome } from "./protocol.ts"
import { decisionWords } from "./world.ts"

export const report = ({ failure, seed, trace }: Outcome): ReadonlyArray<string> => {
  if (failure === undefined) return [`Seed ${seed} holds.`]
  const { plan, script } = failure.shrunk
  const sent = plan.messages.flatMap((message, id) => message.ranks.length === 0 ? [] : [{ id, ...message }])
  return [
    `Seed ${seed} fails: ${failure.issue}`,
    "",
    `Shrunk to ${sent.length} messages, ${plan.faults.length} faults and ${script.length / decisionWords} preemptions, `
    + `it still fails: ${failure.shrunk.issue}`,
    ...sent.map(({ at, bytes, id, kind, ranks }) => `  ${kind} ${id} at ${at} µs to ranks ${ranks.join(" ")}, ${bytes} bytes`),
    ...plan.faults.map(({ after, kind, micros, nth, phase, rank }) =>
      `  ${kind} of ${rank < 0 ? "the driver" : `rank ${rank}`}, ${after} operations after it is at "${phase}" for time ${nth}`
      + (kind === "freeze" ? `, for ${micros} µs` : "")
    ),
    ...(plan.rounds > 0 ? [`  ${plan.rounds} exchanges among the ranks`] : []),
    "",
    ...trace
  ]
}
