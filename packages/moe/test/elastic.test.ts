import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Supervision from "@phalanx/core/Supervision"
import * as Elastic from "@phalanx/elastic/Elastic"
import type { Request, Resizable } from "@phalanx/elastic/Resizable"
import * as Autoscaling from "@phalanx/moe/Autoscaling"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import { Ranks } from "@phalanx/moe/Ranks"
import * as Rebalance from "@phalanx/moe/Rebalance"
import type { Seating } from "@phalanx/moe/Seating"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import { start } from "../../../test/harness/outcome.ts"

const words = ["actor", "black hole", "blorptastic", "happy", "Zürich", "x", "quantum teapot", "Einstein", "hack", "river", "go", "moon"]
const wanted = [...words, ...words.slice(0, 4)].map((word, i) => ({
  prompt: Generator.headword(word),
  maxTokens: 60 + 5 * i,
  sampling: { temperature: i % 2 === 0 ? 0 : 0.7, seed: i }
}))

/** One change of size by the steps of its operation, without a journal. */
const scale = Effect.fnUntraced(function*(group: Resizable["Service"], request: Request, operation = "test") {
  const from = yield* group.serving
  const resize = { operation, request, from, epoch: from.epoch + 1, report: () => Effect.void }
  yield* group.prepare(resize)
  yield* group.copy(resize)
  yield* group.ready(resize)
  const committed = yield* group.commit(resize)
  yield* group.retire(resize)
  return committed
})

const few = wanted.slice(0, 6).map((request) => ({ ...request, maxTokens: 24 }))
const write = (generator: Generator.Generator["Service"], requests: typeof wanted) =>
  Effect.forEach(requests, generator.generate, { concurrency: "unbounded" })
/** What one rank writes that nobody disturbs. Computed once. */
const undisturbed = (requests: typeof wanted) =>
  Effect.runSync(Effect.cached(
    Effect.flatMap(start(1), (ranks) => Generator.make({ ranks, requests: 16 })).pipe(
      Effect.flatMap((generator) => write(generator, requests)),
      Effect.scoped,
      Effect.provide(Cluster.layerMemory)
    )
  ))
const [undisturbedAll, undisturbedFew] = [undisturbed(wanted), undisturbed(few)]

/** How often each expert was wanted on text of one subject that was held out. */
const recorded = JSON.parse(readFileSync(new URL("../model/load.json", import.meta.url), "utf8")).by_kind.person.counts as ReadonlyArray<
  ReadonlyArray<number>
>

const on = (ranks: Ranks["Service"], generator: Generator.Generator["Service"]) =>
  Layer.merge(Layer.succeed(Ranks, ranks), Layer.succeed(Generator.Generator, generator))
const rebalance = (ranks: Ranks["Service"], generator: Generator.Generator["Service"], options?: Rebalance.Options) =>
  Effect.provide(Rebalance.run({ load: recorded, ...options }), on(ranks, generator))

describe("ranks that change their number", () => {
  for (const tp of [1, 2]) {
    it.live(`MO-11: grow and shrink while they write: every text is the same, nothing is computed twice (tp ${tp})`, () =>
      Effect.scoped(Effect.gen(function*() {
        const expected = tp === 1 ? yield* undisturbedAll : undefined
        const ranks = yield* start(2, tp, undefined, 6 * tp)
        const generator = yield* Generator.make({ ranks })
        const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
        const counts = wanted.map(() => 0)
        const texts = wanted.map((request, i) =>
          generator.stream(request).pipe(
            Stream.tap(() => Effect.sync(() => counts[i]!++)),
            Stream.runCollect
          )
        )
        const all = yield* Effect.forkChild(Effect.all(texts, { concurrency: "unbounded" }), { startImmediately: true })
        const sizes: Array<ReadonlyArray<number>> = []
        const requests = tp === 1
          ? [{ to: { dp: 4, tp } }, { leave: [0] }, { to: { dp: 1, tp } }, { to: { dp: 2, tp } }]
          : [{ to: { dp: 3, tp } }, { leave: [0, 1] }]
        for (const request of requests) {
          const before = [...counts]
          yield* scale(group, request)
          sizes.push((yield* generator.load).running)
          const written = () => counts.filter((n, i) => n > before[i]!).length >= Math.min(8, generator.seating.running().flat().length)
          while (!written()) yield* Effect.yieldNow
        }
        const outcomes = (yield* Fiber.join(all)).map((events) => events.map((event) => event._tag === "Byte" ? event.byte : -1))
        if (expected !== undefined) {
          assert.deepStrictEqual(outcomes.map((bytes) => bytes.slice(0, -1)), expected.map(({ bytes }) => [...bytes]))
        }
        const usage = yield* ranks.call.usage()
        for (const { recomputed, requests } of usage) assert.deepStrictEqual([recomputed, requests], [0, 0])
        // Running requests are spread evenly at once: those of owners that left, and a part for those that joined. One or two may have ended since.
        for (const running of sizes) assert.isAtMost(Math.max(...running) - Math.min(...running), 3)
        assert.isAbove(usage.reduce((sum, { inherited }) => sum + inherited, 0), 0)
      })).pipe(Effect.provide(Cluster.layerMemory)))
  }

  it.live("MO-11: take requests in the midst of a commit, and write them", () =>
    Effect.scoped(Effect.gen(function*() {
      const expected = yield* undisturbedFew
      const ranks = yield* start(2, 1, undefined, 4)
      const generator = yield* Generator.make({ ranks })
      const late: Array<Fiber.Fiber<Generator.Result, unknown>> = []
      // No step is out then, and the next one has other owners.
      const reseat: Seating["reseat"] = (...args) => {
        for (const request of few.slice(3)) late.push(Effect.runFork(generator.generate(request)))
        generator.seating.reseat(...args)
      }
      const group = ElasticRanks.make({ ranks, generator: { ...generator, seating: { ...generator.seating, reseat } }, bandwidth: 1e9 })
      const early = yield* Effect.forkChild(write(generator, few.slice(0, 3)), { startImmediately: true })
      yield* scale(group, { to: { dp: 4, tp: 1 } })
      assert.deepStrictEqual([...(yield* Fiber.join(early)), ...(yield* Fiber.joinAll(late))], expected)
    })).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-10: what a loss has made smaller grows back, by an autoscaler that asks for no fewer ranks, while they write", () =>
    Effect.scoped(Effect.gen(function*() {
      const expected = yield* undisturbedFew
      const ranks = yield* start(3, 1, Supervision.shrink({ along: "dp", min: 1 }), 6)
      const generator = yield* Generator.make({ ranks })
      const policy = { min: 3, max: 3, queued: 1000, growAfter: "1 millis", coolDown: "1 millis" } as const
      const texts = yield* Effect.forkChild(Effect.replicateEffect(write(generator, few), 2, { concurrency: 2 }), {
        startImmediately: true
      })
      yield* Effect.gen(function*() {
        yield* ranks.kill(1)
        yield* Stream.runHead(Stream.filter(ranks.memberships, ({ members }) => members.length === 2))
        const grown = yield* Stream.runHead(Stream.filter(ranks.memberships, ({ members }) => members.length === 3))
        assert.deepInclude(Option.getOrThrow(grown), { epoch: 2 })
      }).pipe(Effect.provide(
        Autoscaling.layer({ policy, every: "5 millis" }).pipe(
          Layer.provide(ElasticRanks.layerWith({ bandwidth: 1e9 })),
          Layer.provide(on(ranks, generator))
        )
      ))
      assert.deepStrictEqual(yield* Fiber.join(texts), [expected, expected])
      assert.deepStrictEqual(yield* write(generator, few), expected)
      assert.strictEqual((yield* ranks.call.usage()).length, 3)
    })).pipe(Effect.provide([Cluster.layerMemory, Elastic.layerSqlite({ filename: ":memory:" })])))

  it.live("MO-15: place experts anew while they write: the recorded load is spread more evenly, and every text is the same", () =>
    Effect.scoped(Effect.gen(function*() {
      const expected = yield* undisturbedFew
      const ranks = yield* start(4, 1, Supervision.restart({ max: 9, per: "1 minute", backoff: "1 millis" }))
      const generator = yield* Generator.make({ ranks })
      const all = yield* Effect.forkChild(write(generator, few), { startImmediately: true })
      const { before, after, bytes } = yield* rebalance(ranks, generator)
      assert.isBelow(before, 0.86)
      assert.isAbove(after, 0.97)
      assert.isAbove(bytes, 0)
      assert.deepStrictEqual(yield* Fiber.join(all), expected)
      for (const { recomputed } of yield* ranks.call.usage()) assert.strictEqual(recomputed, 0)
      assert.deepStrictEqual(yield* rebalance(ranks, generator), { before: after, after, bytes: 0 })
      // With copies of what is wanted most, and one that dies: those who have its experts, or the file, give them to the next one.
      const again = yield* Effect.forkChild(write(generator, few), { startImmediately: true })
      const copied = yield* rebalance(ranks, generator, { redundant: 8 })
      assert.isAtLeast(copied.after, after)
      yield* ranks.kill(2)
      assert.deepStrictEqual(yield* Fiber.join(again), expected)
      const held = new Set(generator.seating.slots()[0])
      assert.strictEqual(held.size, 32)
    })).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-15: experts are placed by one at a time, a change of size goes first, and no rank reads what it has been given", () =>
    Effect.scoped(Effect.gen(function*() {
      const expected = yield* undisturbedFew
      const ranks = yield* start(3, 1, undefined, 4)
      const generator = yield* Generator.make({ ranks })
      const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
      const all = yield* Effect.forkChild(write(generator, few), { startImmediately: true })
      const again = rebalance(ranks, generator)
      const [one, other] = yield* Effect.all([again, Effect.flip(again)], { concurrency: "unbounded" })
      assert.isAbove(one.after, one.before)
      assert.strictEqual(other.message, "experts are being moved already. Ask again when they have their places")
      const read = Effect.map(ranks.call.describe(), (all) => all.slice(0, 3).map(({ bytesRead }) => bytesRead))
      const before = yield* read
      const from = yield* group.serving
      const resize = { operation: "", request: { to: { dp: 4, tp: 1 } }, from, epoch: 1, report: () => Effect.void }
      yield* group.prepare(resize)
      const begun = yield* Effect.forkChild(Effect.flip(rebalance(ranks, generator, { load: undefined })), { startImmediately: true })
      yield* group.copy(resize)
      assert.strictEqual((yield* Fiber.join(begun))._tag, "RebalanceError")
      assert.strictEqual((yield* Effect.flip(again))._tag, "RebalanceError")
      yield* group.commit(resize)
      yield* group.retire(resize)
      assert.deepStrictEqual(yield* Fiber.join(all), expected)
      assert.deepStrictEqual(yield* read, before)
      // One that is called off is no hindrance either.
      const next = { ...resize, request: { to: { dp: 3, tp: 1 } }, from: yield* group.serving, epoch: 2 }
      for (const step of [group.prepare, group.copy, group.abort]) yield* step(next)
      assert.isAbove((yield* again).after, 0.97)
    })).pipe(Effect.provide(Cluster.layerMemory)))

  for (const moment of ["give", "place"] as const) {
    it.live(`MO-15: a rank that dies while experts are placed anew ends that, and not a request; experts lie where they did (${moment})`, () =>
      Effect.scoped(Effect.gen(function*() {
        const expected = yield* undisturbedFew
        const ranks = yield* start(4, 1, Supervision.restart({ max: 9, per: "1 minute", backoff: "1 millis" }))
        const generator = yield* Generator.make({ ranks })
        const all = yield* Effect.forkChild(write(generator, few), { startImmediately: true })
        const before = generator.seating.slots()
        const asking = ranks.call[moment] as (payload: never) => Effect.Effect<unknown, unknown>
        const call = Object.create(ranks.call, {
          [moment]: {
            value: (payload: never) =>
              Effect.gen(function*() {
                const asked = yield* Effect.forkChild(asking(payload), { startImmediately: true })
                yield* ranks.kill(2)
                return yield* Fiber.join(asked)
              })
          }
        })
        const error = yield* Effect.flip(
          rebalance(Object.create(ranks, { call: { value: call } }), generator)
        )
        assert.deepInclude(error, { _tag: "CallError", method: moment, rank: 2 })
        assert.deepStrictEqual(yield* Fiber.join(all), expected)
        assert.deepStrictEqual(generator.seating.slots(), before)
        for (const { slots } of yield* ranks.call.inventory()) assert.deepStrictEqual(slots, before)
        assert.isAbove((yield* rebalance(ranks, generator)).after, 0.97)
      })).pipe(Effect.provide(Cluster.layerMemory)))
  }

  it.live("MO-15: a group that a loss makes smaller ends it, too", () =>
    Effect.scoped(Effect.gen(function*() {
      const expected = yield* undisturbedFew
      const ranks = yield* start(4, 1, Supervision.shrink({ along: "dp", min: 1 }))
      const generator = yield* Generator.make({ ranks })
      const all = yield* Effect.forkChild(write(generator, few), { startImmediately: true })
      const shrunk = Stream.runHead(Stream.filter(ranks.memberships, ({ members }) => members.length === 3))
      const call = Object.create(ranks.call, {
        give: {
          value: (payload: never) =>
            Effect.tap(ranks.call.give(payload), () => ranks.workers.length === 4 ? Effect.andThen(ranks.kill(2), shrunk) : Effect.void)
        }
      })
      const error = yield* Effect.flip(rebalance(Object.create(ranks, { call: { value: call } }), generator))
      assert.strictEqual(error.message, "the group has changed meanwhile. Ask again")
      assert.deepStrictEqual(yield* Fiber.join(all), expected)
      assert.isAbove((yield* rebalance(ranks, generator)).after, 0.97)
    })).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-12: go on as they were when a change is called off, and can then be changed", () =>
    Effect.scoped(Effect.gen(function*() {
      const expected = yield* undisturbedFew
      const ranks = yield* start(2, 1, undefined, 6)
      const generator = yield* Generator.make({ ranks })
      const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
      const all = yield* Effect.forkChild(write(generator, few), {
        startImmediately: true
      })
      const from = yield* group.serving
      const resize = { operation: "off", request: { to: { dp: 3, tp: 1 } }, from, epoch: 1, report: () => Effect.void }
      yield* group.prepare(resize)
      yield* group.copy(resize)
      yield* group.ready(resize)
      yield* group.abort(resize)
      yield* group.abort(resize)
      assert.isTrue((yield* Effect.flip(group.commit(resize))).final)
      assert.deepStrictEqual(yield* group.serving, from)
      yield* scale(group, { to: { dp: 4, tp: 1 } })
      assert.deepStrictEqual(yield* Fiber.join(all), expected)
      for (const { recomputed, requests } of yield* ranks.call.usage()) assert.deepStrictEqual([recomputed, requests], [0, 0])
    })).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-12: ranks that have made no step since a change keep the places it has given them when the next one is called off", () =>
    Effect.scoped(Effect.gen(function*() {
      const ranks = yield* start(2, 1, undefined, 6)
      const generator = yield* Generator.make({ ranks })
      const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
      yield* rebalance(ranks, generator)
      for (const steps of [[group.prepare], [group.prepare, group.copy]]) {
        yield* scale(group, { to: { dp: ranks.mesh.shape.dp + 1, tp: 1 } })
        const from = yield* group.serving
        const resize = { operation: "", request: { to: { dp: 2, tp: 1 } }, from, epoch: from.epoch + 1, report: () => Effect.void }
        for (const step of [...steps, group.abort]) yield* step(resize)
        const seated = generator.seating.slots()
        for (const { slots } of yield* ranks.call.inventory()) assert.deepStrictEqual(slots, seated)
      }
      assert.isAbove((yield* rebalance(ranks, generator)).after, 0.97)
    })).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-12: are changed all the same by a commit that a death has spoilt, past the point of no return", () =>
    Effect.scoped(Effect.gen(function*() {
      const expected = yield* undisturbedFew
      const ranks = yield* start(2, 1, Supervision.restart({ max: 9, per: "1 minute", backoff: "1 millis" }), 6)
      const generator = yield* Generator.make({ ranks })
      const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
      const all = yield* Effect.forkChild(write(generator, few), {
        startImmediately: true
      })
      const from = yield* group.serving
      const resize = { operation: "on", request: { to: { dp: 3, tp: 1 } }, from, epoch: 1, report: () => Effect.void }
      yield* group.prepare(resize)
      yield* group.copy(resize)
      yield* group.ready(resize)
      yield* ranks.kill(1)
      yield* Stream.runHead(Stream.filter(ranks.events, ({ _tag }) => _tag === "Restarted"))
      yield* Effect.retry(group.commit(resize), { while: ({ final }) => !final })
      yield* group.retire(resize)
      assert.deepStrictEqual((yield* group.serving).shape, { dp: 3, tp: 1 })
      assert.deepStrictEqual(yield* Fiber.join(all), expected)
    })).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-12: a change ends for good when the ranks have failed", () =>
    Effect.scoped(Effect.gen(function*() {
      const ranks = yield* start(2, 1, undefined, 6)
      const generator = yield* Generator.make({ ranks })
      const group = ElasticRanks.make({ ranks, generator })
      const from = yield* group.serving
      const resize = { operation: "late", request: { to: { dp: 3, tp: 1 } }, from, epoch: 1, report: () => Effect.void }
      yield* group.prepare(resize)
      yield* ranks.kill(0)
      yield* Effect.flip(ranks.failure)
      for (const step of [group.copy(resize), group.ready(resize), group.commit(resize), group.prepare(resize)]) {
        assert.isTrue((yield* Effect.flip(step)).final)
      }
    })).pipe(Effect.provide(Cluster.layerMemory)))
})
