import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { readFileSync } from "node:fs"
import * as Autoscaler from "../src/Autoscaler.ts"
import * as Elastic from "../src/Elastic.ts"
import { ResizeError } from "../src/ElasticError.ts"
import { Resizable } from "../src/Resizable.ts"
import { told } from "./told.ts"

const idle = { queued: 0, tokensInFlight: 0 }
const queue: Autoscaler.Policy = { min: 1, max: 8, queued: 10, growAfter: "5 seconds", shrinkAfter: "20 seconds", coolDown: "10 seconds" }

/** Plays seconds of load against a policy; each change takes effect at once. The sizes that it went to, and when. */
const play = (policy: Autoscaler.Policy, size: number, seconds: ReadonlyArray<Autoscaler.Load>) => {
  let state = Autoscaler.start
  const changes: Array<{ readonly at: number; readonly to: number }> = []
  seconds.forEach((load, at) => {
    const next = Autoscaler.step(policy, state, at * 1000, load, size)
    state = next.state
    if (next.target === undefined) return
    size = next.target
    state = Autoscaler.settled(policy, at * 1000)
    changes.push({ at, to: size })
  })
  return changes
}
const seconds = (count: number, load: Partial<Autoscaler.Load>) => Array.from({ length: count }, () => ({ ...idle, ...load }))

describe("an autoscaler's choice", () => {
  it("AS-1: grows to what has been needed all the while, when there has been too much for long enough, and not for a moment's burst", () => {
    assert.deepStrictEqual(play(queue, 1, seconds(10, { queued: 35 })), [{ at: 5, to: 4 }])
    assert.deepStrictEqual(play(queue, 1, [...seconds(3, { queued: 80 }), ...seconds(3, { queued: 25 })]), [{ at: 5, to: 3 }])
    assert.deepStrictEqual(play(queue, 1, [...seconds(4, { queued: 80 }), ...seconds(1, {}), ...seconds(4, { queued: 80 })]), [])
  })

  it("AS-2: shrinks after a longer while, to what would have had room for everything in it, and only if it would have had room to spare", () => {
    assert.deepStrictEqual(play(queue, 4, seconds(30, { queued: 13 })), [{ at: 20, to: 2 }])
    assert.deepStrictEqual(play(queue, 4, [...seconds(10, {}), ...seconds(1, { queued: 20 }), ...seconds(19, {})]), [{ at: 20, to: 3 }])
    // 10 fit one rank's worth, but not with three tenths to spare: at 2 they are neither too many nor few enough.
    assert.deepStrictEqual(play(queue, 2, seconds(300, { queued: 10 })), [])
    assert.deepStrictEqual(play(queue, 1, seconds(300, { queued: 10 })), [])
  })

  it("AS-3: lets a group be for a while after a change, and forgets what it had seen before", () => {
    const load = [...seconds(6, { queued: 35 }), ...seconds(40, { queued: 75 })]
    assert.deepStrictEqual(play(queue, 1, load), [{ at: 5, to: 4 }, { at: 15, to: 8 }])
    assert.deepStrictEqual(play({ ...queue, coolDown: "30 seconds" }, 1, load), [{ at: 5, to: 4 }, { at: 35, to: 8 }])
  })

  it("AS-4: stays within its limits, and comes back into them", () => {
    assert.deepStrictEqual(play({ ...queue, max: 3 }, 1, seconds(60, { queued: 1000 })), [{ at: 5, to: 3 }])
    assert.deepStrictEqual(play({ ...queue, min: 2 }, 4, seconds(120, {})), [{ at: 20, to: 2 }])
    assert.deepStrictEqual(play({ ...queue, min: 2 }, 1, seconds(60, {})), [{ at: 5, to: 2 }])
    assert.deepStrictEqual(play({ ...queue, max: 4 }, 6, seconds(60, { queued: 60 })), [{ at: 20, to: 4 }])
  })

  it("AS-5: the neediest signal counts, and one without a target does not", () => {
    const policy = { ...queue, tokensInFlight: 500 }
    assert.strictEqual(Autoscaler.wish(policy, { queued: 15, tokensInFlight: 1900 }, 1), 4)
    assert.strictEqual(Autoscaler.wish(policy, { queued: 55, tokensInFlight: 1900 }, 1), 6)
    assert.strictEqual(Autoscaler.wish(queue, { queued: 15, tokensInFlight: 1900 }, 1), 2)
    assert.strictEqual(Autoscaler.wish(policy, { queued: 0, tokensInFlight: 1900 }, 6), 6)
    assert.strictEqual(Autoscaler.wish(policy, { queued: 0, tokensInFlight: 1400 }, 6), 4)
  })

  it("AS-6: a latency above its target asks for one more, one near it keeps what there is, one that nobody measured says nothing", () => {
    const policy = { min: 1, max: 8, latencyMillis: 200 }
    const wish = (latencyMillis: number | undefined, size: number) => Autoscaler.wish(policy, { ...idle, latencyMillis }, size)
    assert.deepStrictEqual([wish(201, 2), wish(200, 2), wish(141, 2), wish(139, 2), wish(undefined, 2)], [3, 2, 2, 1, 1])
    assert.strictEqual(wish(5000, 8), 8)
  })

  it("refuses limits and shares that cannot be, and a policy that looks at nothing", () => {
    const layer = (policy: Partial<Autoscaler.Policy>) => () =>
      Autoscaler.layer({ along: "dp", load: Effect.succeed(idle), policy: { min: 1, max: 4, queued: 1, ...policy } })
    assert.throws(layer({ min: 0 }), RangeError, "min must be a positive integer, not 0")
    assert.throws(layer({ max: 0.5 }), RangeError, "max must be an integer from 1 up, not 0.5")
    assert.throws(layer({ hysteresis: 1 }), RangeError, "hysteresis must be a share")
    assert.throws(layer({ queued: 0 }), RangeError, "queued must be above 0, not 0")
    assert.throws(layer({ queued: undefined }), RangeError, "a policy needs a target")
  })
})

const trace: ReadonlyArray<Autoscaler.Load & { readonly arrivals: number }> = JSON.parse(
  readFileSync(new URL("./fixtures/load-trace.json", import.meta.url), "utf8")
).seconds.map(([arrivals, queued, , tokensInFlight, latency]: ReadonlyArray<any>) => ({
  arrivals,
  queued,
  tokensInFlight,
  latencyMillis: latency ?? undefined
}))

/** Changes sizes at once, so that the clock is the test's alone. */
const instant = Layer.succeed(Elastic.Elastic)({
  scale: (group, { operation, ...request }) =>
    Effect.gen(function*() {
      const from = yield* group.serving
      const resize = { operation, request, from, epoch: from.epoch + 1, report: () => Effect.void }
      yield* group.prepare(resize)
      yield* group.commit(resize)
      return { operation, changed: true, from, to: yield* group.serving, steps: [], pauseMillis: 0 }
    }).pipe(Effect.orDie),
  adopt: () => Effect.die("unused"),
  cancel: () => Effect.die("unused"),
  forget: () => Effect.die("unused"),
  progress: () => Stream.die("unused"),
  status: () => Effect.die("unused")
})

const watch = <E>(group: Resizable["Service"], options: Autoscaler.Options<E, never>) =>
  Layer.provide(Autoscaler.layer(options), Layer.succeed(Resizable, group))

describe("an autoscaler", () => {
  it.effect("refuses a dimension that its group has not", () =>
    Effect.gen(function*() {
      const { group } = told(undefined, "llm")
      const misspelt = watch(group, { along: "pd", policy: queue, load: Effect.succeed(idle) })
      const error = yield* Layer.build(misspelt).pipe(Effect.scoped, Effect.catchDefect(Effect.succeed))
      assert.instanceOf(error, RangeError)
      assert.strictEqual(error.message, "along must be a dimension of llm, one of dp, tp, not pd")
    }).pipe(Effect.provide(instant)))

  it.effect("AS-7: follows a recorded load on a virtual clock: up in each burst, down when it is over, never to and fro", () =>
    Effect.gen(function*() {
      const { group, store } = told()
      const second = yield* Ref.make(0)
      const policy: Autoscaler.Policy = {
        min: 1,
        max: 4,
        queued: 10,
        tokensInFlight: 400,
        latencyMillis: 3000,
        growAfter: "3 seconds",
        shrinkAfter: "8 seconds",
        coolDown: "5 seconds"
      }
      const load = Effect.map(Ref.get(second), (now) => trace[Math.min(now, trace.length - 1)]!)
      const changes: Array<{ readonly at: number; readonly up: boolean }> = []
      yield* Effect.gen(function*() {
        const { decisions } = yield* Autoscaler.Autoscaler
        const listen = Stream.runForEach(decisions, ({ exit, from, to }) =>
          Effect.map(Ref.get(second), (at) => {
            assert.isTrue(Exit.isSuccess(exit))
            changes.push({ at, up: to > from })
          }))
        yield* Effect.forkScoped(listen, { startImmediately: true })
        for (let now = 0; now < trace.length + 60; now++) {
          yield* Ref.set(second, now)
          yield* TestClock.adjust("1 second")
        }
      }).pipe(Effect.provide(watch(group, { along: "dp", policy, load })))
      const turns = changes.filter(({ up }, index) => up !== changes[index - 1]?.up)
      assert.deepStrictEqual(turns.map(({ up }) => up), [false, true, false, true, false], JSON.stringify(changes))
      // The recorded load has its bursts from second 40 and from second 110; each takes its time to be worked off.
      const within = [[0, 30], [40, 55], [95, 115], [110, 125], [140, 170]]
      turns.forEach(({ at }, index) => assert.isTrue(within[index]![0]! <= at && at <= within[index]![1]!, JSON.stringify(changes)))
      assert.strictEqual(store.read().serving.shape["dp"], 1)
    }).pipe(Effect.provide(instant)))

  it.effect("AS-3: counts what has gone by, whatever becomes of the time of day", () =>
    Effect.gen(function*() {
      const { group, store } = told()
      const clock = yield* Clock.Clock
      let [correction, queued] = [0, 35]
      const corrected: Clock.Clock = Object.assign(Object.create(clock), {
        currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + correction)
      })
      const layer = watch(group, { along: "dp", policy: queue, load: Effect.sync(() => ({ ...idle, queued })) })
      yield* Effect.gen(function*() {
        yield* TestClock.adjust("6 seconds")
        assert.strictEqual(store.read().serving.shape["dp"], 4)
        correction = -24 * 3600 * 1000
        queued = 75
        yield* TestClock.adjust("12 seconds")
        assert.strictEqual(store.read().serving.shape["dp"], 8)
      }).pipe(Effect.provide(Layer.provide(layer, Layer.succeed(Clock.Clock, corrected))))
    }).pipe(Effect.provide(instant)))

  it("AS-7: with a queue that its ranks work off, makes requests wait a third as long as a fixed size of as many ranks on average", () => {
    const policy: Autoscaler.Policy = { min: 1, max: 6, queued: 2, growAfter: "1 second", shrinkAfter: "10 seconds", coolDown: "1 second" }
    const serve = (size: number, scaling: boolean) => {
      let [state, queued, waited, ranks] = [Autoscaler.start, 0, 0, 0]
      trace.forEach(({ arrivals }, at) => {
        queued = Math.max(0, queued + arrivals - size * 1.1)
        waited += queued
        ranks += size / trace.length
        const next = Autoscaler.step(policy, state, at * 1000, { ...idle, queued }, size)
        state = next.state
        if (!scaling || next.target === undefined) return
        size = next.target
        assert.isTrue(size >= 1 && size <= 6)
        state = Autoscaler.settled(policy, at * 1000)
      })
      return { waited, ranks }
    }
    const scaled = serve(2, true)
    const fixed = serve(scaled.ranks, false)
    assert.isBelow(scaled.waited, fixed.waited / 3)
  })

  it.effect("AS-8: a change that fails is told and let be for the cool-down; a load that cannot be read changes nothing", () =>
    Effect.gen(function*() {
      const fails = yield* Ref.make(true)
      const broken = yield* Ref.make(false)
      const { group, store } = told((part) =>
        part !== "prepare"
          ? Effect.void
          : Effect.flatMap(Ref.get(fails), (now) => now ? new ResizeError({ issue: "no room", advice: "Wait" }) : Effect.void)
      )
      const load = Effect.flatMap(Ref.get(broken), (now) => now ? Effect.fail("no answer") : Effect.succeed({ ...idle, queued: 35 }))
      const heard: Array<string> = []
      /** Lets seconds pass until so much was heard: operations take their own time, which is not the clock's. */
      const until = (count: number) =>
        Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), Effect.yieldNow), { until: () => heard.length === count })
      yield* Effect.gen(function*() {
        const { decisions } = yield* Autoscaler.Autoscaler
        yield* Effect.forkScoped(
          Stream.runForEach(decisions, ({ exit, to }) => Effect.sync(() => heard.push(`${to} ${exit._tag}`))),
          { startImmediately: true }
        )
        yield* until(1)
        yield* Ref.set(fails, false)
        yield* Ref.set(broken, true)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([heard, store.read().serving.epoch], [["4 Failure"], 0])
        yield* Ref.set(broken, false)
        yield* until(2)
        assert.deepStrictEqual([heard[1], store.read().serving.shape["dp"]], ["4 Success", 4])
      }).pipe(Effect.provide(watch(group, { along: "dp", policy: queue, load })))
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(store.read().serving.epoch, 1)
    }).pipe(Effect.provide(Elastic.layerSqlite({ filename: ":memory:" }))))
})
