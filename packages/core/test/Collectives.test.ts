import { assert, describe, it } from "@effect/vitest"
import * as Collectives from "@phalanx/core/Collectives"
import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { abortedOnEach, issueOf, makeWorld, onEach, type Service, shuffled, start, upTo } from "./collectiveWorld.ts"
import * as shuffledLanes from "./shuffledLanes.ts"

interface Step {
  readonly run: (communicator: Collectives.Communicator) => Effect.Effect<unknown, Collectives.CollectiveAborted>
  /** What the member at a place must get. */
  readonly expected: (place: number) => unknown
}

const types = [Float32Array, Float64Array, Int32Array] as const
const combined = {
  sum: (a: number, b: number) => a + b,
  min: (a: number, b: number) => Math.min(a, b),
  max: (a: number, b: number) => Math.max(a, b)
}

/** A random operation with data for every rank, and its result computed without any communication. */
const randomStep = (random: () => number, ranks: ReadonlyArray<number>): Step => {
  const below = (limit: number) => Math.floor(random() * limit)
  const randomBytes = () => Uint8Array.from({ length: random() < 0.3 ? 0 : below(40) }, () => below(256))
  const places = upTo(ranks.length)
  switch (below(5)) {
    case 0: {
      const parts = places.map(() => places.map(randomBytes))
      return { run: (_) => _.allToAll(parts[_.index]!), expected: (place) => parts.map((sent) => sent[place]) }
    }
    case 1: {
      const parts = places.map(randomBytes)
      return { run: (_) => _.allGather(parts[_.index]!), expected: () => parts }
    }
    case 2: {
      const Type = types[below(3)]!
      const by = (["sum", "min", "max"] as const)[below(3)]!
      const length = below(20)
      const scale = () => (random() - 0.5) * 10 ** below(9)
      const values = places.map(() => Type.from(Array.from({ length }, scale)))
      const result = Type.from(values[0]!)
      for (const more of values.slice(1)) more.forEach((value, i) => result[i] = combined[by](result[i]!, value))
      return { run: (_) => _.allReduce(values[_.index]!, by), expected: () => result }
    }
    case 3: {
      const root = ranks[below(ranks.length)]!
      const bytes = randomBytes()
      return { run: (_) => _.broadcast(root, _.ranks[_.index] === root ? bytes : undefined), expected: () => bytes }
    }
    default:
      return { run: (_) => _.barrier, expected: () => undefined }
  }
}

/** Runs the same steps on a member, which dawdles before each as its seed says. */
const runSteps = Effect.fnUntraced(function*(
  communicator: Collectives.Communicator,
  steps: ReadonlyArray<Step>,
  seed: number,
  begun: (step: number) => void = () => {},
  ended: (step: number) => void = () => {}
) {
  const random = shuffledLanes.seeded(seed + communicator.ranks[communicator.index]!)
  for (const [nth, step] of steps.entries()) {
    for (let pauses = Math.floor(random() * 3); pauses > 0; pauses--) yield* Effect.yieldNow
    begun(nth)
    assert.deepStrictEqual([nth, yield* step.run(communicator)], [nth, step.expected(communicator.index)])
    ended(nth)
  }
})

const stepsOf = (seed: number, ranks: ReadonlyArray<number>, count: number): ReadonlyArray<Step> => {
  const random = shuffledLanes.seeded(seed)
  return Array.from({ length: count }, () => randomStep(random, ranks))
}

describe.each([
  { name: "memory", layer: () => MessageQueues.layerMemory },
  {
    name: "shuffled",
    layer: (seed: number) => Layer.succeed(MessageQueues.MessageQueues, shuffledLanes.make(seed).queues)
  }
])("Collectives on $name lanes", ({ layer }) => {
  describe.each([1, 2, 3, 4, 8])("%i ranks", (size) => {
    it.effect("CL-1: every operation gives what a direct computation gives", () =>
      Effect.forEach(upTo(10), (seed) =>
        Effect.gen(function*() {
          const world = yield* makeWorld(size)
          const steps = stepsOf(seed, upTo(size), 25)
          yield* onEach(world, (service) => runSteps(service, steps, seed))
        }).pipe(Effect.scoped, Effect.provide(layer(seed)))))
  })

  it.effect("CL-3: groups that were split run at once, with the world's own operations between", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(8)
      const all = stepsOf(1, upTo(8), 60)
      // Rows of 4, columns of 2 in descending order, and the same rows once more.
      const lists = (rank: number) => {
        const row = upTo(4).map((place) => rank - rank % 4 + place)
        return [row, [rank % 4 + 4, rank % 4], row]
      }
      yield* onEach(world, (service) => {
        const rank = service.index
        const communicators = lists(rank).map((ranks) => service.split(ranks))
        const runs = communicators.map((_, nth) => runSteps(_, stepsOf(nth * 100 + Math.min(..._.ranks), _.ranks, 60), nth))
        return Effect.all([runSteps(service, all, 9), ...runs], { concurrency: "unbounded" })
      })
    }).pipe(Effect.provide(layer(5))))
})

describe("Collectives", () => {
  it.effect("CL-1, CL-6: 1000 operations under random delays are right, and none ends before every rank began it", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(4)
      const steps = stepsOf(77, upTo(4), 1000)
      const begun = upTo(4).map(() => -1)
      yield* onEach(world, (service) =>
        runSteps(
          service,
          steps,
          7,
          (nth) => begun[service.index] = nth,
          (nth) => assert.isAtLeast(Math.min(...begun), nth)
        ))
    }).pipe(Effect.provide(shuffled(4).layer)))

  it.effect("CL-1: counts of operations may wrap", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(2)
      yield* onEach(world, (service) => Effect.forEach(upTo(0x10010), () => service.barrier, { discard: true }))
      const gathered = yield* onEach(world, (service) => service.allGather(Uint8Array.of(service.index)))
      assert.deepStrictEqual(gathered, upTo(2).map(() => [Uint8Array.of(0), Uint8Array.of(1)]))
    }).pipe(Effect.provide(MessageQueues.layerMemory)))

  it.effect("CL-2: allReduce has the same bits on every rank, those of adding in the order of ranks", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(4)
      const ranks = [2, 0, 3, 1]
      const values = [[1e8, -0, 0.1], [1, -0, 0.2], [-1e8, 0, 0.3], [1, -0, 0.7]].map((_) => Float32Array.from(_))
      const results = yield* onEach(world, (service) => service.split(ranks).allReduce(values[service.index]!))
      const add = (a: number, b: number) => Math.fround(a + b)
      const expected = Float32Array.from([0, 1, 2], (i) => ranks.map((rank) => values[rank]![i]!).reduce(add))
      // In another order it is another number.
      assert.notStrictEqual(expected[0], values.map((_) => _[0]!).reduce(add))
      for (const result of results) assert.deepStrictEqual(new Uint8Array(result.buffer), new Uint8Array(expected.buffer))
    }).pipe(Effect.provide(shuffled(2).layer)))

  it.effect("CL-2: integers wrap, NaN is kept, and the values given stay as they are", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(3)
      const mine = Int32Array.of(0x7fffffff, 1)
      const sums = yield* onEach(world, (service) => service.allReduce(mine))
      assert.deepStrictEqual(sums, upTo(3).map(() => Int32Array.of(0x7ffffffd, 3)))
      assert.deepStrictEqual(mine, Int32Array.of(0x7fffffff, 1))
      const least = yield* onEach(world, (service) => service.allReduce(Float64Array.of(service.index === 1 ? NaN : 1), "min"))
      assert.deepStrictEqual(least, upTo(3).map(() => Float64Array.of(NaN)))
    }).pipe(Effect.provide(shuffled(2).layer)))

  it.effect("CL-3: what comes for a communicator that this rank has not split yet waits for it", () => {
    const { lanes, layer } = shuffled(1)
    return Effect.gen(function*() {
      const world = yield* makeWorld(2)
      yield* onEach(world, (service) => service.barrier)
      const early = yield* start(world[1]!.service.split([0, 1]).allGather(Uint8Array.of(1)))
      yield* lanes.delivered
      const late = yield* world[0]!.service.split([0, 1]).allGather(Uint8Array.of(0))
      assert.deepStrictEqual(late, [Uint8Array.of(0), Uint8Array.of(1)])
      assert.deepStrictEqual(yield* Fiber.join(early), Exit.succeed(late))
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-3: an abort of one communicator leaves the others alone", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(2)
      yield* abortedOnEach(world, (service) => {
        const pair = service.split([0, 1])
        return service.index === 0 ? pair.barrier : pair.allGather(new Uint8Array(0))
      })
      yield* onEach(world, (service) => service.barrier)
      yield* onEach(world, (service) => service.split([0, 1]).barrier)
    }).pipe(Effect.provide(shuffled(6).layer)))

  const floats = (length: number) => new Float32Array(length)
  const mismatches: ReadonlyArray<{
    readonly differs: string
    readonly one: (service: Service) => Effect.Effect<unknown, Collectives.CollectiveAborted>
    readonly other: (service: Service) => Effect.Effect<unknown, Collectives.CollectiveAborted>
    readonly names: ReadonlyArray<string>
  }> = [
    {
      differs: "operation",
      one: (_) => _.barrier,
      other: (_) => _.allGather(new Uint8Array(3)),
      names: ["barrier", "rank 2 began allGather"]
    },
    {
      differs: "length",
      one: (_) => _.allReduce(floats(4)),
      other: (_) => _.allReduce(floats(5)),
      names: ["16 bytes", "20 bytes"]
    },
    {
      differs: "type",
      one: (_) => _.allReduce(floats(4)),
      other: (_) => _.allReduce(new Int32Array(4)),
      names: ["sum, Float32Array", "sum, Int32Array"]
    },
    {
      differs: "reduction",
      one: (_) => _.allReduce(floats(4), "max"),
      other: (_) => _.allReduce(floats(4), "min"),
      names: ["max, Float32Array", "min, Float32Array"]
    },
    {
      differs: "root",
      one: (_) => _.broadcast(1, new Uint8Array(1)),
      other: (_) => _.broadcast(2, new Uint8Array(1)),
      names: ["broadcast(root 1)", "broadcast(root 2)"]
    }
  ]
  it.effect.each(mismatches)(
    "CL-4: another $differs on one rank fails on all ranks and names both",
    ({ names, one, other }) =>
      Effect.forEach(upTo(8), (seed) =>
        Effect.gen(function*() {
          const world = yield* makeWorld(4)
          yield* onEach(world, (service) => service.barrier)
          const operation = (service: Service) => service.index === 2 ? other(service) : one(service)
          for (const error of yield* abortedOnEach(world, operation)) {
            for (const name of names) assert.include(error.issue, name)
            assert.include(error.issue, "operation 1 of ranks 0, 1, 2, 3")
          }
          // The communicator stays aborted.
          yield* abortedOnEach(world, (service) => service.barrier)
        }).pipe(Effect.scoped, Effect.provide(shuffled(seed).layer)))
  )

  it.effect.each([
    { wrong: "count of parts", call: (_: Service) => _.allToAll([]), says: "allToAll with 0 parts for 3 ranks" },
    { wrong: "root", call: (_: Service) => _.broadcast(7), says: "broadcast with root 7, which is not of ranks 0, 1, 2" },
    { wrong: "root without bytes", call: (_: Service) => _.broadcast(1), says: "broadcast as the root, without bytes" }
  ])("CL-4: a wrong $wrong on one rank fails on all ranks", ({ call, says }) =>
    Effect.gen(function*() {
      const world = yield* makeWorld(3)
      const errors = yield* abortedOnEach(world, (service) => service.index === 1 ? call(service) : service.barrier)
      for (const error of errors) assert.strictEqual(error.issue, `rank 1 called ${says}`)
    }).pipe(Effect.provide(shuffled(3).layer)))

  it.effect("CL-4: a second fiber in one communicator fails on all ranks", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(2)
      const first = yield* start(world[0]!.service.barrier)
      const second = yield* start(world[0]!.service.allGather(new Uint8Array(1)))
      const exits = [yield* Fiber.join(first), yield* Fiber.join(second), yield* Effect.exit(world[1]!.service.barrier)]
      for (const exit of exits) assert.include(issueOf(exit), "rank 0 began allGather while it was in barrier, operation 0")
    }).pipe(Effect.provide(shuffled(3).layer)))

  it.effect("CL-5: an abort fails everything that waits, in every communicator, and everything later", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(4)
      yield* onEach(world, (service) => service.barrier)
      const survivors = world.slice(0, 3)
      const waiting = yield* Effect.forEach(survivors, ({ service }) =>
        Effect.all([
          start(service.barrier),
          start(service.split([service.index, 3]).allGather(new Uint8Array(1)))
        ]))
      for (const { abort } of survivors) abort("rank 3 is gone: exit code 1")
      for (const fiber of waiting.flat()) assert.include(issueOf(yield* Fiber.join(fiber)), "rank 3 is gone: exit code 1")
      for (
        const error of yield* abortedOnEach(survivors, (service) => service.split([0, 1, 2]).allReduce(floats(2)))
      ) {
        assert.strictEqual(error.issue, "rank 3 is gone: exit code 1")
        assert.strictEqual(error.operation, "allReduce")
      }
    }).pipe(Effect.provide(shuffled(8).layer)))

  it.effect("CL-5: an abort before the first operation and one while ranks still join fail it", () => {
    const { lanes, layer } = shuffled(1)
    return Effect.gen(function*() {
      const world = yield* makeWorld(3, () => () => Effect.never)
      const joining = yield* start(world[0]!.service.barrier)
      assert.strictEqual(lanes.opened(), 1)
      world[0]!.abort("rank 2 is gone")
      assert.include(issueOf(yield* Fiber.join(joining)), "rank 2 is gone")
      world[1]!.abort("rank 2 is gone")
      assert.strictEqual((yield* Effect.flip(world[1]!.service.barrier)).issue, "rank 2 is gone")
      assert.strictEqual(lanes.opened(), 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-5: a lost lane aborts this rank and, through it, those that wait for it", () => {
    const { lanes, layer } = shuffled(1)
    return Effect.gen(function*() {
      const world = yield* makeWorld(3)
      yield* onEach(world, (service) => service.barrier)
      const waiting = yield* start(world[1]!.service.barrier)
      yield* Effect.sync(() => lanes.lose(2, 0, "not a frame"))
      assert.include(issueOf(yield* Fiber.join(waiting)), "rank 0 lost the lane from rank 2: not a frame")
      yield* abortedOnEach(world, (service) => service.barrier)
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-5: a join that fails or dies, and a lane that throws, fail the operation", () =>
    Effect.gen(function*() {
      const refused = new Collectives.CollectiveAborted({ operation: "join", generation: 3, issue: "the group is closing" })
      for (const [join, says] of [[Effect.fail(refused), "the group is closing"], [Effect.die("a bug"), "a bug"]] as const) {
        const world = yield* makeWorld(2, () => () => join)
        const [error] = yield* abortedOnEach(world, (service) => service.barrier)
        assert.strictEqual(error!.issue, `rank 0 could not join: ${says}`)
      }
      const lanes = {
        send: () => {
          throw new Error("out of memory")
        }
      }
      const throwing = MessageQueues.MessageQueues.of({
        ...shuffledLanes.make(1).queues,
        peers: () => Effect.succeed({ handle: { transport: "test", data: null }, connect: () => Effect.succeed(lanes) })
      })
      const world = yield* Effect.provideService(makeWorld(2), MessageQueues.MessageQueues, throwing)
      const [error] = yield* abortedOnEach(world, (service) => service.allGather(new Uint8Array(5)))
      assert.include(error!.issue, "rank 0 could not send 5 bytes to rank 1: Error: out of memory")
    }).pipe(Effect.provide(shuffled(1).layer)))

  it.effect("CL-5: a rank whose scope closes fails what waits on it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const world = yield* Scope.provide(makeWorld(2), scope)
      const waiting = yield* start(world[0]!.service.barrier)
      yield* Scope.close(scope, Exit.void)
      assert.include(issueOf(yield* Fiber.join(waiting)), "rank 0 has left")
      assert.strictEqual((yield* Effect.flip(world[1]!.service.barrier)).issue, "rank 1 has left")
    }).pipe(Effect.provide(shuffled(1).layer)))

  it.effect.each([
    { peer: "is operations ahead", from: 1, skip: 3, says: "rank 1 sent barrier out of turn to ranks 0, 1" },
    { peer: "repeats itself", from: 1, skip: 0, says: "rank 1 sent barrier out of turn to ranks 0, 1" },
    { peer: "is no member", from: 2, skip: 1, says: "rank 2 is not of ranks 0, 1 but wrote to it" }
  ])("CL-6: a peer that $peer aborts the communicator", ({ from, says, skip }) => {
    const { lanes, layer } = shuffled(1)
    return Effect.gen(function*() {
      const world = yield* makeWorld(3)
      yield* onEach(world, (service) => service.barrier)
      const [zero, one] = world.slice(0, 2).map(({ service }) => service.split([0, 1]))
      yield* Effect.all([zero!.barrier, one!.barrier], { concurrency: 2 })
      const { channel, sequence } = lanes.latest()
      const next = yield* start(zero!.barrier)
      lanes.inject(from, 0, channel, sequence + skip, new Uint8Array(0))
      assert.include(issueOf(yield* Fiber.join(next)), says)
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-6: a peer that sends on and on to a communicator that this rank has not split aborts all of them", () => {
    const { lanes, layer } = shuffled(1)
    return Effect.gen(function*() {
      const world = yield* makeWorld(2)
      yield* onEach(world, (service) => service.barrier)
      yield* Effect.sync(() => {
        for (let count = 0; count < 5; count++) lanes.inject(1, 0, 12345, count, new Uint8Array(8))
      })
      for (const error of yield* abortedOnEach(world, (service) => service.barrier)) {
        assert.strictEqual(error.issue, "rank 1 ran ahead in a communicator that rank 0 has not split")
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-7: an operation interrupted while it waits aborts its communicator on all members", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(3)
      yield* onEach(world, (service) => service.barrier)
      const patient = yield* start(world[1]!.service.barrier)
      yield* Fiber.interrupt(yield* start(world[0]!.service.barrier))
      const issue = "rank 0 was interrupted in barrier, operation 1 of ranks 0, 1, 2"
      assert.include(issueOf(yield* Fiber.join(patient)), issue)
      for (const error of yield* abortedOnEach(world, (service) => service.barrier)) assert.strictEqual(error.issue, issue)
    }).pipe(Effect.provide(shuffled(1).layer)))

  it.effect("CL-7: an interruption between operations aborts nothing", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(2)
      yield* onEach(world, (service) => service.barrier)
      yield* Fiber.interrupt(yield* start(Effect.andThen(world[0]!.service.split([0]).barrier, Effect.never)))
      yield* onEach(world, (service) => service.barrier)
    }).pipe(Effect.provide(shuffled(1).layer)))

  it.effect("CL-8: nothing is opened before the first operation, and once by all that come first together", () => {
    const { lanes, layer } = shuffled(1)
    return Effect.gen(function*() {
      const world = yield* makeWorld(3)
      const pairs = world.map(({ service }) => service.split([0, 1, 2]))
      yield* onEach(world, (service) => service.split([service.index]).barrier)
      assert.strictEqual(lanes.opened(), 0)
      yield* onEach(world, (service) => Effect.all([service.barrier, pairs[service.index]!.barrier], { concurrency: 2 }))
      assert.strictEqual(lanes.opened(), 3)
    }).pipe(Effect.provide(layer))
  })

  it.effect("CL-8: an operation interrupted before everyone has joined is told to the others when they have", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(2)
      yield* Fiber.interrupt(yield* start(world[0]!.service.barrier))
      const error = yield* Effect.flip(world[1]!.service.barrier)
      assert.strictEqual(error.issue, "rank 0 was interrupted in barrier, operation 0 of ranks 0, 1")
    }).pipe(Effect.provide(shuffled(1).layer)))

  it.effect("counts the bytes sent to each rank", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(3)
      yield* onEach(world, (service) => service.allToAll(upTo(3).map((to) => new Uint8Array(10 * service.index + to))))
      yield* onEach(world, (service) => service.barrier)
      yield* onEach(world, (service) => service.broadcast(1, new Uint8Array(100)))
      yield* onEach(world.slice(1), (service) => service.split([1, 2]).allReduce(floats(250)))
      const traffic = yield* onEach(world, (service) => service.traffic)
      assert.deepStrictEqual(traffic, [[0, 1, 2], [110, 0, 1112], [20, 1021, 0]])
    }).pipe(Effect.provide(shuffled(1).layer)))

  it.effect("splits only lists of this group's ranks that name each once and this one too", () =>
    Effect.gen(function*() {
      const [rank] = yield* makeWorld(2)
      for (const ranks of [[], [1], [0, 0], [0, 2], [0, 0.5], [0, -1]]) {
        assert.throws(() => rank!.service.split(ranks), RangeError, "rank 0 of 2 cannot be in a communicator")
      }
    }).pipe(Effect.provide(shuffled(1).layer)))

  it.effect("layerAlone is rank 0 of 1 and needs no queues", () =>
    Effect.gen(function*() {
      const alone = yield* Collectives.Collectives
      assert.deepStrictEqual([alone.index, alone.ranks], [0, [0]])
      yield* runSteps(alone, stepsOf(3, [0], 50), 3)
      yield* runSteps(alone.split([0]), stepsOf(4, [0], 50), 4)
      assert.deepStrictEqual(yield* alone.traffic, [0])
    }).pipe(Effect.provide(Collectives.layerAlone)))
})
