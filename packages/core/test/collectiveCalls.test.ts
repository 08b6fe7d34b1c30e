import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as calls from "../src/internal/calls.ts"
import { Asked } from "../src/internal/self.ts"
import { abortedOnEach, issueOf, makeWorld, onEach, type Service, shuffled, start, upTo } from "./collectiveWorld.ts"

describe("Collectives of calls", () => {
  const within = <A, E>(call: number, effect: Effect.Effect<A, E>) => Effect.provideService(effect, Asked, { call, generation: 3 })
  const inCall = Effect.fnUntraced(function*(size: number, call: number) {
    const world = yield* makeWorld(size)
    for (const { calls } of world) calls.heard(call)
    yield* onEach(world, (service) => within(call, service.barrier))
    return world
  })

  it.effect("CL-10: operations for different calls fail on all ranks and name both", () =>
    Effect.forEach(upTo(8), (seed) =>
      Effect.gen(function*() {
        const world = yield* inCall(3, 4)
        for (const { calls } of world) for (const call of [7, 8]) calls.heard(call)
        const operation = (service: Service) => within(service.index === 2 ? 8 : 7, service.allReduce(new Float32Array(2)))
        for (const error of yield* abortedOnEach(world, operation)) {
          for (const call of ["for call 7", "for call 8"]) assert.include(error.issue, call)
        }
      }).pipe(Effect.scoped, Effect.provide(shuffled(seed).layer))))

  it.effect("CL-10: the numbers of calls may wrap, and an operation of no call meets those of any", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(2)
      for (let call = 0xffffff - 3; call < 0xffffff + 3; call++) {
        for (const { calls } of world) calls.heard(call)
        const [one, other] = yield* onEach(world, (service) => within(call, service.allGather(Uint8Array.of(service.index))))
        assert.deepStrictEqual(one, other)
        for (const { calls } of world) calls.ended(call)
      }
      for (const { calls } of world) calls.heard(0xffffff + 3)
      yield* onEach(world, (service) => within(service.index === 0 ? 0xffffff + 3 : calls.noCall, service.barrier))
    }).pipe(Effect.provide(shuffled(2).layer)))

  const skips = {
    "before its peers have begun": [],
    "after its peers have begun": ["delivered"],
    "without having heard of it": ["unheard", "delivered"]
  } as const
  it.effect.each(Object.entries(skips).map(([when, how]) => ({ when, how: how as ReadonlyArray<string> })))(
    "CL-11: a rank whose call ends $when tells them that it takes no part",
    ({ how }) => {
      const { lanes, layer } = shuffled(3)
      return Effect.gen(function*() {
        const world = yield* inCall(3, 4)
        for (const { calls, service } of world) if (service.index < 2 || !how.includes("unheard")) calls.heard(7)
        const begin = Effect.forEach(world.slice(0, 2), ({ service }) => start(within(7, service.allGather(new Uint8Array(1)))))
        const skip = Effect.sync(() => how.includes("unheard") ? world[2]!.calls.heard(8) : world[2]!.calls.ended(7))
        let waiting: Effect.Success<typeof begin>
        if (how.includes("delivered")) {
          waiting = yield* begin
          yield* lanes.delivered
          for (const fiber of waiting) assert.isUndefined(fiber.pollUnsafe())
          yield* skip
        } else {
          yield* skip
          waiting = yield* begin
        }
        for (const fiber of waiting) {
          assert.match(
            issueOf(yield* Fiber.join(fiber)),
            /rank 2 took no part in allGather, operation 1 of ranks 0, 1, 2: it had ended call 7, for which rank [01] began it/
          )
        }
        // So it is aborted there, too.
        assert.include((yield* Effect.flip(world[2]!.service.barrier)).issue, "rank 2 took no part")
      }).pipe(Effect.provide(layer))
    }
  )

  it.effect("CL-11: a call that this rank has not heard of yet may still come", () => {
    const { lanes, layer } = shuffled(3)
    return Effect.gen(function*() {
      const world = yield* inCall(2, 4)
      const early = yield* start(within(7, world[0]!.service.barrier))
      yield* lanes.delivered
      world[1]!.calls.ended(4)
      world[1]!.calls.heard(7)
      yield* within(7, world[1]!.service.barrier)
      assert.deepStrictEqual(yield* Fiber.join(early), Exit.void)
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-11: who waits in a communicator that a rank has not split in its call is told, and so is that rank when it splits it", () => {
    const { lanes, layer } = shuffled(3)
    return Effect.gen(function*() {
      const world = yield* inCall(2, 7)
      const waiting = yield* start(within(7, world[0]!.service.split([0, 1]).barrier))
      yield* lanes.delivered
      world[1]!.calls.ended(7)
      const issue = "rank 1 had ended call 7, for which rank 0 began an operation"
      assert.include(issueOf(yield* Fiber.join(waiting)), issue)
      assert.strictEqual((yield* Effect.flip(world[1]!.service.split([0, 1]).barrier)).issue, issue)
      yield* onEach(world, (service) => service.barrier)
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-11: an operation for a call that was answered before is refused on all ranks", () =>
    Effect.gen(function*() {
      const world = yield* inCall(2, 7)
      world[1]!.calls.ended(7)
      const errors = yield* abortedOnEach(world, (service) => within(service.index === 1 ? 7 : calls.noCall, service.barrier))
      for (const error of errors) assert.strictEqual(error.issue, "rank 1 began barrier for call 7, which it had answered")
    }).pipe(Effect.provide(shuffled(1).layer)))
})
