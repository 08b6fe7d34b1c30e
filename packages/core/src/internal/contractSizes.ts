/**
 * Cases of the contract in which a group gets another size.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Body, Use } from "./contractGroup.ts"
import { equal, eventually } from "./expecting.ts"

export const sizes: ReadonlyArray<readonly [name: string, body: Body, use: Use]> = [
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
    }),
    { takes: ["new"], leaves: "shrunk" }
  ],
  [
    "GR-2, GR-3: grows while it serves, and goes on without any slice of its mesh; who joins meets those that are there before it serves",
    Effect.fnUntraced(function*(group) {
      const before = yield* group.call.whoami()
      const there = before.map(({ rank }) => rank)
      const joining = [there.length, there.length + 1]
      yield* group.call.add({ n: 1 })
      const grown = yield* group.prepare({ to: { dp: there.length / 2 + 1 } })
      equal(yield* group.call.meet(), there.map(() => there))
      equal((yield* grown.next.call.meet()).at(-1), [...there, ...joining])
      equal((yield* grown.all.call.meet()).length, there.length + 2)
      equal(yield* group.call.add({ n: 1 }), there.map((rank) => 2 * rank))
      yield* grown.commit
      equal(yield* group.call.add({ n: 0 }), [...there.map((rank) => 2 * rank), 0, 0])
      equal(group.workers.map(({ rank }) => rank), [...there, ...joining])
      equal(
        yield* group.call.whoami(),
        group.workers.map(({ incarnation, rank }) => ({ rank, dp: rank >> 1, tp: rank & 1, incarnation, epoch: before[0]!.epoch + 1 }))
      )
    }),
    { takes: ["new", "shrunk"], leaves: "grown" }
  ]
]
