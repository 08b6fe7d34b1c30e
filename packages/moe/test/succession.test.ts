import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Keeping from "../../../test/harness/keeping.ts"
import { start } from "../../../test/harness/outcome.ts"
import { size } from "../src/internal/size.ts"
import { gather } from "../src/internal/succession.ts"
import { topK } from "../src/Model.ts"

const words = ["actor", "black hole", "blorptastic", "happy", "Zürich", "x", "quantum teapot", "Einstein", "hack", "river", "go", "moon"]
const wanted = words.map((word, i) => ({
  id: `request ${i}`,
  prompt: Generator.headword(word),
  maxTokens: 14 + 3 * i,
  sampling: { temperature: i % 2 === 0 ? 0 : 0.7, seed: i }
}))

const texts = (generator: Generator.Generator["Service"], from = 0) =>
  Effect.forEach(wanted, ({ id }) => Stream.runCollect(generator.attach(id, from)), { concurrency: "unbounded" })

/** Computed once. */
const undisturbed = Effect.runSync(Effect.cached(
  Effect.gen(function*() {
    const generator = yield* Generator.make({ ranks: yield* start(1), requests: 16 })
    yield* Effect.forEach(wanted, generator.submit, { concurrency: "unbounded" })
    return yield* texts(generator)
  }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory))
))

/** Positions that the ranks have to compute for so many texts. */
const positions = (texts: ReadonlyArray<ReadonlyArray<Generator.Event>>): number =>
  texts.reduce((sum, events, i) => {
    const [last] = events.slice(-1)
    const sampled = last?._tag === "End" && last.finish === "stop" ? events.length : events.length - 1
    return sum + wanted[i]!.prompt.length + sampled
  }, 0)

/** Ranks that outlive their driver. Each `adopt` is another one, and whoever was it before does nothing more. */
const kept = Effect.fnUntraced(function*(dp: number, tp: number, supervision?: Supervision.Supervision<"dp" | "tp">) {
  const { cluster } = yield* Keeping.make
  const options = { mesh: Mesh.make({ dp, tp }), entry: Moe.entry(), capacity: 8, heartbeat: false, supervision } as const
  const ranks = yield* Effect.provideService(WorkerGroup.make(Moe.Moe, { ...options, name: "moe" }), Cluster.Cluster, cluster)
  const adopt = Effect.provideService(WorkerGroup.adopt(Moe.Moe, { ...options, group: ranks.name }), Cluster.Cluster, cluster)
  return { ranks, adopt }
})

const yields = (count: number) => Effect.forEach(Array.from({ length: count }), () => Effect.yieldNow, { discard: true })

describe("a driver that takes requests over", () => {
  for (const [dp, tp] of [[3, 1], [2, 2]] as const) {
    it.live(`MO-13: of drivers that are gone in mid-step, one after the other: no request is lost, no text another, nothing done twice (dp ${dp}, tp ${tp})`, () =>
      Effect.gen(function*() {
        const expected = yield* undisturbed
        const { adopt, ranks } = yield* kept(dp, tp)
        const options = { requests: 2, chunk: 3 }
        let [successor, generator, turns] = [ranks, yield* Generator.make({ ranks, ...options }), 0]
        // Two on each owner run, the others wait.
        yield* Effect.forEach(wanted, generator.submit, { concurrency: "unbounded" })
        while ((yield* generator.requests).some(({ state }) => state === "open")) {
          const before = yield* generator.requests
          successor = yield* adopt
          generator = yield* Generator.adopt({ ranks: successor, ...options })
          const after = new Map((yield* generator.requests).map((known) => [known.id, known]))
          for (const known of before) {
            assert.isAtLeast(after.get(known.id)!.written, known.written)
            if (known.state === "ended") assert.deepStrictEqual(after.get(known.id), known)
          }
          yield* yields(20 + (turns++ * 37) % 60)
        }
        assert.isAbove(turns, 5)
        assert.deepStrictEqual(yield* texts(generator), expected)
        assert.deepStrictEqual(yield* texts(generator, 7), expected.map((events) => events.slice(7)))
        const usage = yield* successor.call.usage()
        for (const { recomputed, requests } of usage) assert.deepStrictEqual([recomputed, requests], [0, 0])
        // There were steps that were cut short.
        const rows = (yield* successor.call.load()).flat(2).reduce((sum, count) => sum + count, 0)
        assert.isAbove(rows, positions(expected) * size.layers * topK * tp)
      }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))
  }

  it.live("MO-13: who leaves gives what it keeps of waiting and ended requests to others, and what was prepared for another size is no hindrance", () =>
    Effect.gen(function*() {
      const expected = yield* undisturbed
      const { adopt, ranks } = yield* kept(3, 1)
      const generator = yield* Generator.make({ ranks, requests: 1 })
      yield* Effect.forEach(wanted, generator.submit, { concurrency: "unbounded" })
      while (!(yield* generator.requests).some(({ state }) => state === "ended")) yield* Effect.yieldNow
      const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
      const resize = { operation: "", request: { leave: [0, 2] }, from: yield* group.serving, epoch: 1, report: () => Effect.void }
      for (const step of [group.prepare, group.copy, group.ready, group.commit, group.retire]) yield* step(resize)
      const again = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
      const next = { ...resize, request: { to: { dp: 2, tp: 1 } }, from: yield* again.serving, epoch: 2 }
      for (const step of [again.prepare, again.copy]) yield* step(next)

      const successor = yield* adopt
      const heir = yield* Generator.adopt({ ranks: successor, requests: 4 })
      const third = ElasticRanks.make({ ranks: successor, generator: heir, bandwidth: 1e9 })
      yield* third.abort(next)
      for (const step of [third.prepare, third.copy, third.ready, third.commit, third.retire]) yield* step(next)
      assert.deepStrictEqual((yield* third.serving).shape, { dp: 2, tp: 1 })
      assert.deepStrictEqual(yield* texts(heir), expected)
      for (const { recomputed, requests } of yield* successor.call.usage()) assert.deepStrictEqual([recomputed, requests], [0, 0])
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it.live("MO-13: what a rank that died meanwhile held is computed again where somebody else has the request, too", () =>
    Effect.gen(function*() {
      const expected = yield* undisturbed
      const { adopt, ranks } = yield* kept(1, 2, Supervision.restart({ max: 9, per: "1 minute", backoff: "1 millis" }))
      const generator = yield* Generator.make({ ranks, requests: 4 })
      yield* Effect.forEach(wanted, generator.submit, { concurrency: "unbounded" })
      yield* Stream.runDrain(Stream.take(generator.attach("request 1"), 9))
      const successor = yield* adopt
      yield* successor.kill(1)
      const heir = yield* Generator.adopt({ ranks: successor, requests: 4 })
      assert.deepStrictEqual(yield* texts(heir), expected)
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it("MO-13: puts together what ranks say: the furthest counts, and of those that share an owner the one that is behind", () => {
    const opening = (id: number, name?: string) => ({
      id,
      ...(name && { name }),
      tokens: Uint8Array.of(0, 65),
      maxTokens: 9,
      sampling: { temperature: 0, seed: 0 }
    })
    const holding = (state: Moe.Holding["state"], opening: Moe.Opening, ...bytes: ReadonlyArray<number>): Moe.Holding => ({
      state,
      opening,
      bytes: Uint8Array.from(bytes),
      computed: bytes.length === 0 ? 0 : bytes.length + 1
    })
    const [a, b, c, reader] = [opening(3, "a"), opening(4, "b"), opening(5, "c"), opening(8)]
    const slots = [[0, 1]]
    const estate = gather([
      { slots, holdings: [holding("waiting", a), holding("running", a, 66, 67), holding("waiting", b), holding("running", reader)] },
      { slots, holdings: [holding("running", a, 66), holding("waiting", c)] },
      { slots, holdings: [holding("running", b, 70, 0)] },
      { slots, holdings: [holding("ended", b, 70, 0)] }
    ], 2)
    assert.deepStrictEqual(estate, {
      slots,
      running: [{ opening: a, dp: 0, bytes: [66], computed: 2 }],
      waiting: [c],
      ended: [holding("ended", b, 70, 0)],
      nextId: 9
    })
    assert.isUndefined(gather([{ slots, holdings: [] }, { slots: [[1, 0]], holdings: [] }], 1).slots)
  })
})

describe("requests with an id", () => {
  it.live("MO-14: the same id is the same request, with as many readers as there are, from any byte on; it goes on without them", () =>
    Effect.gen(function*() {
      const ranks = yield* start(2)
      const generator = yield* Generator.make({ ranks, requests: 1 })
      const [one, two] = wanted.slice(7)
      const { id } = one!
      yield* Stream.runDrain(Stream.take(generator.stream(one!), 3))
      const reader = yield* Effect.forkChild(Stream.runCollect(generator.attach(id)), { startImmediately: true })
      assert.deepStrictEqual(yield* Effect.all([generator.submit(one!), generator.submit(two!)]), [id, two!.id])
      const events = yield* Fiber.join(reader)
      assert.deepStrictEqual(events.at(-1), { _tag: "End", finish: events.length > one!.maxTokens ? "length" : "stop" })
      for (const from of [0, 5, 1000]) {
        assert.deepStrictEqual(yield* Stream.runCollect(generator.attach(id, from)), from > 999 ? events.slice(-1) : events.slice(from))
      }
      const { bytes } = yield* generator.generate(one!)
      assert.deepStrictEqual([...bytes], events.flatMap((event) => event._tag === "Byte" ? [event.byte] : []))
      const taken = yield* Effect.flip(generator.submit({ ...two!, id }))
      assert.strictEqual(
        taken.message,
        `request ${id}: it was asked for with another prompt or other options. Give another request another id`
      )
      const made = yield* generator.submit({ prompt: Generator.headword("go"), maxTokens: 2 })
      assert.lengthOf(yield* Stream.runCollect(generator.attach(made)), 3)
      yield* Stream.runDrain(generator.attach(two!.id))
      assert.deepStrictEqual((yield* generator.requests).map(({ id, state }) => [id, state]), [[id, "ended"], [two!.id, "ended"], [
        made,
        "ended"
      ]])
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it.live("MO-14: one that is called off ends for its readers, and frees its place; one that is unknown is an error that says so", () =>
    Effect.gen(function*() {
      const ranks = yield* start(1)
      const generator = yield* Generator.make({ ranks, requests: 1 })
      const [one, two] = wanted
      yield* generator.submit(one!)
      yield* generator.submit(two!)
      const reader = yield* Effect.forkChild(Effect.flip(Stream.runDrain(generator.attach(one!.id))), { startImmediately: true })
      yield* generator.cancel(one!.id)
      assert.deepInclude(yield* Fiber.join(reader), { _tag: "RequestError", id: one!.id, reason: "cancelled" })
      yield* Stream.runDrain(generator.attach(two!.id))
      yield* generator.cancel(two!.id)
      yield* generator.cancel("nobody's")
      assert.deepInclude(yield* Effect.flip(Stream.runDrain(generator.attach(one!.id))), { _tag: "RequestError", reason: "unknown" })
      const [inventory] = yield* ranks.call.inventory()
      assert.deepStrictEqual(inventory!.holdings.map(({ opening: { name }, state }) => [name, state]), [[two!.id, "ended"]])
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it.live("MO-14: results are kept for their time, here and on the ranks, and no more than the last 1024", () =>
    Effect.gen(function*() {
      let now = 0
      const clock = yield* Clock.Clock
      const ranks = yield* start(1)
      const generator = yield* Effect.provideService(
        Generator.make({ ranks, requests: 32, rows: 64, keepResults: "1 minute" }),
        Clock.Clock,
        Object.assign(Object.create(clock), { monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n })
      )
      const short = (i: number) => ({ id: `short ${i}`, prompt: new Uint8Array(0), maxTokens: 1 })
      const read = (id: string) => Stream.runCollect(generator.attach(id))
      yield* generator.submit(short(0))
      const first = yield* read("short 0")
      now = 59_999
      assert.deepStrictEqual(yield* read("short 0"), first)
      now = 60_000
      assert.strictEqual((yield* Effect.flip(read("short 0")))._tag, "RequestError")
      yield* Effect.forEach(Array.from({ length: 1026 }, (_, i) => short(i + 1)), (request) =>
        Effect.andThen(generator.submit(request), read(request.id)), {
        concurrency: "unbounded"
      })
      assert.lengthOf(yield* generator.requests, 1024)
      assert.strictEqual((yield* Effect.flip(read("short 2")))._tag, "RequestError")
      assert.deepStrictEqual(yield* read("short 1026"), first)
      yield* generator.generate({ prompt: Generator.headword("go"), maxTokens: 3 })
      const [inventory] = yield* ranks.call.inventory()
      assert.lengthOf(inventory!.holdings, 1024)
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it.live("MO-14: one is accepted also where a rank dies while it is being opened, and is not lost", () =>
    Effect.gen(function*() {
      const expected = yield* undisturbed
      const ranks = yield* start(2, 1, Supervision.restart({ max: 99, per: "1 minute", backoff: "1 millis" }))
      const generator = yield* Generator.make({ ranks })
      // With nothing else to do it is opened on rank 0 in the step that begins at once.
      for (const [i, request] of wanted.slice(0, 6).entries()) {
        const submitting = yield* Effect.forkChild(generator.submit(request), { startImmediately: true })
        yield* yields(3 * i)
        yield* ranks.kill(1)
        assert.strictEqual(yield* Fiber.join(submitting), request.id)
        assert.deepStrictEqual(yield* Stream.runCollect(generator.attach(request.id)), expected[i])
      }
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))
})
