import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Supervision from "@phalanx/core/Supervision"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { start } from "../../../test/harness/outcome.ts"

const wanted = ["actor", "black hole", "happy", "hack", "river", "moon"].map((word, i) => ({
  prompt: Generator.headword(word),
  maxTokens: 24,
  sampling: { temperature: i % 2 === 0 ? 0 : 0.7, seed: i }
}))

const serve = Effect.gen(function*() {
  const ranks = yield* start(2, 1, Supervision.restart({ max: 9, per: "1 minute", backoff: "1 millis" }), 4)
  let steps = 0
  const generator = yield* Generator.make({ ranks, onStep: () => steps++ })
  /** Begins to write, and waits until all have written something. */
  const begin = Effect.fnUntraced(function*(requests: typeof wanted) {
    const counts = requests.map(() => 0)
    const fiber = yield* Effect.forkChild(
      Effect.forEach(
        requests,
        (request, i) => Effect.exit(Stream.runCollect(Stream.tap(generator.stream(request), () => Effect.sync(() => counts[i]!++)))),
        {
          concurrency: "unbounded"
        }
      ),
      { startImmediately: true }
    )
    while (counts.includes(0)) yield* Effect.yieldNow
    return fiber
  })
  return { ranks, generator, begin, steps: () => steps }
})

describe("a pause", () => {
  it.live("MO-16: keep leaves requests where they are and lets new ones wait; a change of size and a death meanwhile leave it, and every text is the same", () =>
    Effect.gen(function*() {
      const { begin, generator, ranks, steps } = yield* serve
      const expected = yield* Effect.forEach(wanted, generator.generate, { concurrency: "unbounded" })
      const fiber = yield* begin(wanted.slice(0, 5))
      yield* generator.pause("keep")
      const made = steps()
      assert.deepStrictEqual((yield* generator.load).running.reduce((a, b) => a + b), 5)
      const late = yield* Effect.forkChild(generator.generate(wanted[5]!), { startImmediately: true })
      const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
      for (const [i, dp] of [4, 3].entries()) yield* Elastic.scale(group, { to: { dp, tp: 1 }, operation: `change-${i}` })
      assert.deepStrictEqual([yield* generator.paused, ranks.workers.length, steps()], ["keep", 3, made])
      assert.strictEqual((yield* generator.load).waiting, 1)
      yield* ranks.kill(0)
      yield* generator.resume
      const texts = (yield* Fiber.join(fiber)).map((exit) =>
        exit._tag === "Success" ? exit.value.flatMap((event) => event._tag === "Byte" ? [event.byte] : []) : exit.cause
      )
      assert.deepStrictEqual([...texts, [...(yield* Fiber.join(late)).bytes]], expected.map(({ bytes }) => [...bytes]))
      assert.isUndefined(yield* generator.paused)
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(Cluster.layerMemory, Elastic.layerSqlite({ filename: ":memory:" })))))

  it.live("MO-16: wait lets requests end, abort ends them with their reason, and both refuse new ones; a pause on its way can be ended or taken back", () =>
    Effect.gen(function*() {
      const { begin, generator, ranks, steps } = yield* serve
      const running = yield* begin(wanted.slice(0, 3))
      yield* generator.pause("wait")
      for (const exit of yield* Fiber.join(running)) assert.strictEqual(exit._tag, "Success")
      const refused = yield* Effect.flip(generator.generate(wanted[3]!))
      assert.deepStrictEqual([refused._tag, "reason" in refused && refused.reason], ["RequestError", "paused"])
      assert.strictEqual(refused.message, "request: the generator is paused, and takes no requests meanwhile. Ask again when it goes on")
      yield* generator.resume

      const ended = yield* begin(wanted)
      yield* generator.pause("abort")
      for (const exit of yield* Fiber.join(ended)) {
        assert.strictEqual(exit._tag === "Failure" && String(exit.cause).includes("all that was open was ended by a pause"), true)
      }
      assert.deepInclude(yield* generator.load, { running: [0, 0], waiting: 0 })
      for (const { requests } of yield* ranks.call.usage()) assert.strictEqual(requests, 0)
      yield* generator.resume

      // One that is on its way ends with `resume`, and is taken back where nobody waits for it any more.
      const long = yield* begin(wanted)
      const pausing = yield* Effect.forkChild(generator.pause("wait"), { startImmediately: true })
      yield* generator.resume
      yield* Fiber.join(pausing)
      const given = yield* Effect.forkChild(generator.pause("wait"), { startImmediately: true })
      assert.strictEqual(yield* generator.paused, "wait")
      yield* Fiber.interrupt(given)
      assert.isUndefined(yield* generator.paused)
      const before = steps()
      assert.strictEqual((yield* generator.generate(wanted[0]!)).bytes.length > 0, true)
      assert.isAbove(steps(), before)
      for (const exit of yield* Fiber.join(long)) assert.strictEqual(exit._tag, "Success")
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))

  it.live("MO-15: what was to be done between two steps is not done when nobody waits for it any more, and is interrupted when it has begun", () =>
    Effect.gen(function*() {
      const { begin, generator: { generate, seating } } = yield* serve
      const done: Array<string> = []
      const say = (what: string) => Effect.sync(() => void done.push(what))
      const writing = yield* begin(wanted.slice(0, 3))
      const waits = yield* Effect.forkChild(seating.between(say("ghost")), { startImmediately: true })
      yield* Fiber.interrupt(waits)
      yield* seating.between(say("later"))
      assert.deepStrictEqual(done, ["later"])
      const endless = Effect.onInterrupt(
        Effect.andThen(say("begun"), Effect.never),
        () => Effect.andThen(Effect.yieldNow, say("interrupted"))
      )
      const runs = yield* Effect.forkChild(seating.between(endless), { startImmediately: true })
      while (!done.includes("begun")) yield* Effect.yieldNow
      yield* Fiber.interrupt(runs)
      assert.deepStrictEqual(done, ["later", "begun", "interrupted"])
      for (const exit of yield* Fiber.join(writing)) assert.strictEqual(exit._tag, "Success")
      assert.isAbove((yield* generate(wanted[0]!)).bytes.length, 0)
    }).pipe(Effect.scoped, Effect.provide(Cluster.layerMemory)))
})
