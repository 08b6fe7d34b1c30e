/** Every rank of a group, over lanes that deliver in any order. */
import { assert } from "@effect/vitest"
import * as Collectives from "@phalanx/core/Collectives"
import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as calls from "../src/internal/calls.ts"
import * as internal from "../src/internal/collectives.ts"
import * as shuffledLanes from "./shuffledLanes.ts"

export type Service = Collectives.Collectives["Service"]
type Join = internal.Options["join"]

export const upTo = (size: number): ReadonlyArray<number> => Array.from({ length: size }, (_, rank) => rank)

/** Every rank of a group, whose handles a driver collects and hands out. */
export const makeWorld = Effect.fnUntraced(function*(size: number, join?: (join: Join) => Join) {
  const everyone = yield* Deferred.make<ReadonlyArray<MessageQueues.Handle>>()
  const handles = new Map<number, MessageQueues.Handle>()
  return yield* Effect.forEach(upTo(size), (rank) => {
    const joinAll: Join = (handle) => {
      handles.set(rank, handle)
      const all = upTo(size).map((rank) => handles.get(rank)!)
      return handles.size === size ? Effect.as(Deferred.succeed(everyone, all), all) : Deferred.await(everyone)
    }
    let review = (): void => {}
    const known = calls.make(() => review())
    const options = {
      group: "test",
      secret: "00",
      rank,
      ranks: size,
      generation: 3,
      calls: known,
      join: join?.(joinAll) ?? joinAll,
      unable: () => {}
    }
    return Effect.map(internal.make(options), (made) => {
      review = made.review
      return { ...made, calls: known }
    })
  })
})

export const onEach = <A, E>(
  world: ReadonlyArray<{ readonly service: Service }>,
  use: (service: Service) => Effect.Effect<A, E>
): Effect.Effect<Array<A>, E> => Effect.forEach(world, ({ service }) => use(service), { concurrency: "unbounded" })

/** What each rank was told, none having succeeded. */
export const abortedOnEach = Effect.fnUntraced(function*(
  world: ReadonlyArray<{ readonly service: Service }>,
  use: (service: Service) => Effect.Effect<unknown, Collectives.CollectiveAborted>
) {
  const errors = yield* onEach(world, (service) => Effect.flip(use(service)))
  for (const error of errors) {
    assert.instanceOf(error, Collectives.CollectiveAborted)
    assert.strictEqual(error.generation, 3)
  }
  return errors
})

export const start = (effect: Effect.Effect<unknown, Collectives.CollectiveAborted>) =>
  Effect.forkScoped(Effect.exit(effect), { startImmediately: true })

export const issueOf = (exit: Exit.Exit<unknown, Collectives.CollectiveAborted>): string =>
  Exit.match(exit, { onSuccess: () => "succeeded", onFailure: (cause) => String(cause) })

export const shuffled = (seed: number) => {
  const lanes = shuffledLanes.make(seed)
  return { lanes, layer: Layer.succeed(MessageQueues.MessageQueues, lanes.queues) }
}
