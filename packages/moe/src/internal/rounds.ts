import * as MovementPlan from "@phalanx/elastic/MovementPlan"
import type { Gifts } from "../Moe.ts"
import { size } from "./size.ts"

/** The most bytes of experts that a rank gives in one round: what its event loop is held up by. */
const most = 256 * 1024
const each = Math.max(1, Math.floor(most / size.expertBytes))

/** What each rank gives in one round, and how many bytes that is in all. */
export interface Round {
  readonly gifts: ReadonlyArray<Gifts>
  readonly bytes: number
}

/** The moves of a plan in rounds in which nobody gives more than is good for its steps. `members` are all that are concerned, in the order of their places. */
export const of = (plan: MovementPlan.MovementPlan, members: ReadonlyArray<number>): ReadonlyArray<Round> =>
  MovementPlan.steps(plan, "end").flatMap((step) =>
    step._tag === "Switch" ? [] : parts(step.flows).map((flows) => round(step.layer, flows, members))
  )

const parts = (flows: ReadonlyArray<MovementPlan.Flow>): ReadonlyArray<ReadonlyArray<MovementPlan.Flow>> => {
  const longest = Math.max(...flows.map(({ experts }) => experts.length))
  const part = (i: number) => flows.map((flow) => ({ ...flow, experts: flow.experts.slice(i * each, (i + 1) * each) }))
  return Array.from({ length: Math.ceil(longest / each) }, (_, i) => part(i).filter(({ experts }) => experts.length > 0))
}

const round = (layer: number, flows: ReadonlyArray<MovementPlan.Flow>, members: ReadonlyArray<number>): Round => {
  const gifts = members.map(() => ({ experts: [] as Array<Gifts["experts"][number]>, requests: [] }))
  for (const { experts, from, to } of flows) {
    // What nobody has any more its rank reads itself.
    if (from === "file") continue
    for (const expert of experts) gifts[members.indexOf(from)]!.experts.push({ layer, expert, to: [members.indexOf(to)] })
  }
  return { gifts, bytes: flows.reduce((sum, { experts }) => sum + experts.length, 0) * size.expertBytes }
}
