/** How soon the death of a worker on Ray is told, and that of the agent that has started it. */
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import * as Mortals from "../Mortals.ts"
import * as Serving from "./Serving.ts"

/** Milliseconds from SIGKILL until the call in flight has failed. */
export interface Deaths {
  readonly worker: Serving.Statistics
  readonly agent: Serving.Statistics
  readonly count: number
}

/** The process that has started another. */
const parentOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
}

/** On the cluster that is provided: so many of each, in turn. */
export const run = Effect.fn("RayDeaths.run")(function*(count: number) {
  const group = yield* Effect.mapError(Mortals.group(2), Mortals.failed)
  const settled = Effect.mapError(group.call.hello({ n: 0 }), Mortals.failed)
  const [worker, agent]: [Array<number>, Array<number>] = [[], []]
  for (let i = 0; i < count; i++) {
    worker.push((yield* Mortals.strike(group, 1, "SIGKILL")).millis)
    yield* settled
    agent.push((yield* Mortals.strike(group, 1, "SIGKILL", parentOf)).millis)
    yield* settled
  }
  return { worker: Serving.statistics(worker), agent: Serving.statistics(agent), count } satisfies Deaths as Deaths
}, Effect.scoped)
