import { assert, describe, it } from "@effect/vitest"
import * as World from "@phalanx/core/testing/World"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const seeds = Array.from({ length: 50 }, (_, seed) => seed)

/** Three processes that sleep and write down when they wake; what a world of this seed made of them. */
const three = (seed: number) => {
  const world = World.make({ seed })
  const log: Array<string> = []
  for (const name of ["a", "b", "c"]) {
    const process = world.process(name)
    process.run(Effect.gen(function*() {
      for (let step = 0; step < 5; step++) {
        yield* Effect.yieldNow
        log.push(`${name}${step}`)
        yield* Effect.yieldNow
        if (step === 2) yield* Effect.sleep(1)
      }
    }))
  }
  return { ending: world.run(() => log.length === 15), hash: world.hash, log: log.join(" "), millis: world.millis }
}

describe("a world", () => {
  it("SI-1: a run is a function of its seed, and its hash tells runs apart", () => {
    for (const seed of seeds) assert.deepStrictEqual(three(seed), three(seed))
    const runs = seeds.map(three)
    assert.isAbove(new Set(runs.map(({ log }) => log)).size, 40)
    assert.strictEqual(new Set(runs.map(({ hash }) => hash)).size, 50)
  })

  it("SI-2: any process that has something to do may be next; a fiber's tasks and an inbox's messages keep their order", () => {
    const first = new Set<string>()
    const orders = new Set<string>()
    for (const seed of seeds) {
      const { log } = three(seed)
      first.add(log[0]!)
      assert.deepStrictEqual(log.split(" ").filter((line) => line.startsWith("b")), ["b0", "b1", "b2", "b3", "b4"])
      const world = World.make({ seed })
      const process = world.process("d")
      const order: Array<string> = []
      for (const [inbox, letter] of [[process.inbox(), "x"], [process.inbox(), "y"]] as const) {
        for (const number of [1, 2]) inbox.post(() => void order.push(`${letter}${number}`))
      }
      world.run(() => order.length === 4)
      assert.isBelow(order.indexOf("x1"), order.indexOf("x2"))
      assert.isBelow(order.indexOf("y1"), order.indexOf("y2"))
      orders.add(order.join(" "))
    }
    assert.strictEqual(first.size, 3)
    assert.strictEqual(orders.size, 6)
  })

  it("SI-3: time passes only when nobody can do anything, and then to whatever is next", () => {
    for (const seed of seeds) {
      const world = World.make({ seed })
      const times: Array<number> = []
      const sleeper = world.process("sleeper")
      sleeper.run(Effect.andThen(Effect.sleep("1 minute"), Effect.sync(() => times.push(world.millis))))
      world.process("busy").run(Effect.gen(function*() {
        for (let turn = 0; turn < 100; turn++) yield* Effect.yieldNow
        times.push(world.millis, yield* Clock.currentTimeMillis)
      }))
      assert.strictEqual(world.run(() => times.length === 3), "done")
      assert.deepStrictEqual(times, [0, Date.UTC(2026, 0, 1), 60_000])
    }
  })

  it("SI-3: a world in which nobody will ever have a turn says so, and so does one that is late or busy", () => {
    const waits = (program: Effect.Effect<unknown>, limits?: Parameters<World.World["run"]>[1]) => {
      const world = World.make({ seed: 1 })
      world.process("a").run(program)
      return world.run(() => false, limits)
    }
    assert.strictEqual(waits(Effect.never), "stuck")
    assert.strictEqual(waits(Effect.promise(() => new Promise(() => {}))), "stuck")
    assert.strictEqual(waits(Effect.forever(Effect.sleep("1 second")), { millis: 5000 }), "late")
    assert.strictEqual(waits(Effect.forever(Effect.yieldNow), { turns: 100 }), "busy")
  })

  it("SI-4: a process that is stopped has no turns until it goes on; one that has ended has none, nor do its finalizers", () => {
    for (const seed of seeds) {
      const world = World.make({ seed })
      const log: Array<string> = []
      const [stopped, ended] = [world.process("stopped"), world.process("ended")]
      const ticks = (name: string) =>
        Effect.ensuring(
          Effect.forever(Effect.delay(Effect.sync(() => log.push(`${name} ${Math.floor(world.millis)}`)), 10)),
          Effect.sync(() => log.push(`${name} is finalized`))
        )
      stopped.run(ticks("stopped"))
      ended.run(ticks("ended"))
      ended.run(Effect.sleep("1 minute"))
      world.after(15, () => {
        stopped.stop()
        ended.end()
      })
      world.after(95, () => stopped.resume())
      world.after(120, () => stopped.end())
      assert.strictEqual(world.run(() => false), "stuck")
      assert.isBelow(world.millis, 130)
      assert.deepStrictEqual(log.filter((line) => line.startsWith("ended")), ["ended 10"])
      assert.deepStrictEqual(log.filter((line) => line.startsWith("stopped")), ["stopped 10", "stopped 95", "stopped 105", "stopped 115"])
    }
  })
})
