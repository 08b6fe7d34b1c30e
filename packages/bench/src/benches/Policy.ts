import * as Supervision from "@phalanx/core/Supervision"
import * as Effect from "effect/Effect"
import type * as Bench from "../Bench.ts"
import * as Depth from "../Depth.ts"
import * as Hollow from "../Hollow.ts"
import * as Mortals from "../Mortals.ts"
import * as Row from "../Row.ts"
import { effects, type Sampling } from "../Sampling.ts"

const policies = { escalate: Supervision.escalate, restart: Supervision.restart({ max: 3, per: "1 minute" }) }
const names = ["escalate", "restart"] as const

/** Calls of one sample: a single one takes a few microseconds, which no clock tells. */
const together = 100

/** What a policy takes in its turn. Turns are many and short: a machine that is slower now than a second ago is so for both. */
const few: Sampling = { warm: { calls: 0, most: 0 }, budget: 0, least: 4, most: 4, pause: 0 }

/** What a policy costs a call of a group in which nobody dies. */
export const Policy: Bench.Bench = {
  name: "policy",
  about:
    `A driver alone, its workers being answers that it gives itself: what ${together} calls cost under \`escalate\` and under \`restart\`, in turn.`,
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const rows: Array<Row.Row> = []
    for (const ranks of [1, 8]) {
      const samplers = new Map<typeof names[number], ReturnType<typeof effects>>()
      for (const name of names) {
        const group = yield* Effect.mapError(Hollow.start(ranks, policies[name]), Mortals.failed)
        const calls = Effect.map(
          Effect.forEach(Array.from({ length: together }), () => group.call.text({ x: "x" })),
          (answers) => answers.at(-1)!
        )
        samplers.set(name, effects(ranks, 1, calls, Effect.runPromise))
      }
      const rounds = new Map(names.map((name) => [name, [] as Array<Row.Round>]))
      for (const name of names) yield* Effect.promise(() => samplers.get(name)!(Depth.sampling(depth, 0)))
      for (let round = 0; round < depth.rounds; round++) {
        const taken = new Map(names.map((name) => [name, [] as Array<number>]))
        for (let turn = 0; turn < depth.most / 20; turn++) {
          for (const name of turn % 2 === 0 ? names : names.toReversed()) {
            taken.get(name)!.push(...yield* Effect.promise(() => samplers.get(name)!(few)))
          }
        }
        for (const name of names) rounds.get(name)!.push({ values: taken.get(name)!, foreign: 0 })
      }
      rows.push(...names.map((name) => Row.of(name, { workers: ranks, bytes: 64 }, rounds.get(name)!)))
    }
    return rows
  })
}
