/**
 * Cases of the contract in which a group gets another size.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Body } from "./contractGroup.ts"
import { equal, eventually } from "./expecting.ts"

const ranks = [0, 1, 2, 3]

export const sizes: ReadonlyArray<readonly [name: string, body: Body]> = [
  [
    "GR-2, GR-3: grows while it serves, and goes on without any slice of its mesh; who joins meets those that are there before it serves",
    Effect.fnUntraced(function*(group) {
      yield* group.call.add({ n: 1 })
      const grown = yield* group.prepare({ to: { dp: 3 } })
      equal(yield* group.call.meet(), ranks.map(() => ranks))
      equal((yield* grown.next.call.meet())[5], [0, 1, 2, 3, 4, 5])
      equal((yield* grown.all.call.meet()).length, 6)
      equal(yield* group.call.add({ n: 1 }), [0, 2, 4, 6])
      yield* grown.commit
      equal(yield* group.call.add({ n: 0 }), [0, 2, 4, 6, 0, 0])
      equal(
        yield* group.call.whoami(),
        [...ranks, 4, 5].map((rank) => ({ rank, dp: rank >> 1, tp: rank & 1, incarnation: 0, epoch: 1 }))
      )
    })
  ],
  [
    "GR-2, GR-5: members that leave end when they have answered; those that stay keep what they are, at new ranks",
    Effect.fnUntraced(function*(group) {
      yield* group.call.add({ n: 1 })
      const held = yield* Effect.forkChild(group.at(1).call.hold({ label: "to the end" }), { startImmediately: true })
      yield* eventually(Effect.map(group.at(1).call.log(), (log) => log.at(-1)), "hold to the end")
      yield* Effect.scoped(Effect.gen(function*() {
        const shrunk = yield* group.prepare({ leave: [0, 1] })
        yield* shrunk.commit
        yield* shrunk.all.at(1).call.open({ label: "to the end" })
        equal(yield* Fiber.join(held), "to the end")
      }))
      equal(yield* group.call.add({ n: 1 }), [2, 4])
      equal(yield* group.call.meet(), [[0, 1], [0, 1]])
      equal(group.workers.map(({ id }) => id), [2, 3])
    })
  ]
]
