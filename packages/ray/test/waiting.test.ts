import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { type Bridge, Refused } from "../src/internal/bridge.ts"
import * as Reservations from "../src/internal/reservations.ts"

const node = { id: "a", address: "10.0.0.1", driver: true, total: { CPU: 4 }, free: { CPU: 1 } }

/** A bridge to a cluster that never has room. */
const full: Bridge = {
  node: "a",
  address: "10.0.0.1",
  ray: "2.60.0",
  ask: (method) => method === "reserve" ? Effect.never : Effect.succeed(method === "nodes" ? [node] : []) as any,
  gone: Effect.never,
  isGone: () => false
}

/** A bridge whose Ray says after a while that it has not laid what is asked for, so many times. */
const slow = (times: number): { readonly bridge: Bridge; readonly asked: Array<string> } => {
  const asked: Array<string> = []
  const refused = new Refused({ code: "DoesNotFit", detail: "PENDING", nodes: [node] })
  const reserve = Effect.suspend(() =>
    asked.push("reserve") <= times ? Effect.fail(refused) : Effect.succeed([{ index: 0, node: "a", resources: { CPU: 1 } }])
  )
  const ask: Bridge["ask"] = (method) => (method === "reserve" ? reserve : Effect.succeed(method === "nodes" ? [node] : [])) as any
  return { bridge: { ...full, ask }, asked }
}

const reservations = (bridge: Bridge, news: (text: string) => void) =>
  Reservations.make({ bridge: Effect.succeed(bridge), tell: () => Effect.undefined, hear: () => {} }, false, news)
const first = { member: 0, rank: 0, epoch: 0, generation: 0 }

const used = (bridge: Bridge, CPU: number) =>
  Effect.gen(function*() {
    const { use } = yield* reservations(bridge, () => {})
    return yield* use({ ...first, group: "slow", shape: { rank: 1 } }, { resources: { CPU } }, () => Effect.succeed("seated"))
  }).pipe(Effect.scoped)

describe("a group that Ray is slow to place", () => {
  it.effect("RY-4: is asked for again while there is room by Ray's own account", () =>
    Effect.gen(function*() {
      const { asked, bridge } = slow(2)
      assert.strictEqual(yield* used(bridge, 1), "seated")
      assert.strictEqual(asked.length, 3)
    }))

  it.effect("RY-4: is given up with what Ray says of it, and not as one that does not fit", () =>
    Effect.gen(function*() {
      const { asked, bridge } = slow(100)
      const error = yield* Effect.flip(used(bridge, 1))
      assert(error._tag === "RayError")
      assert.match(error.message, /slow.*not laid the placement group within 15 s, though there is room; it says PENDING/)
      assert.strictEqual(asked.length, 5)
    }))

  it.effect("RY-4: is asked for once where there is no room", () =>
    Effect.gen(function*() {
      const { asked, bridge } = slow(100)
      const error = yield* Effect.flip(used(bridge, 2))
      assert(error._tag === "PlacementError")
      assert.strictEqual(asked.length, 1)
    }))
})

describe("a group that waits for room on Ray", () => {
  it.effect("RY-4: says after 10 seconds, and each time after twice as long, what it waits for and what is free", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const { use } = yield* reservations(full, (text) => told.push(text))
      const identity = { ...first, group: "waiting", shape: { rank: 2 } }
      const waiting = yield* Effect.forkChild(Effect.scoped(use(identity, { resources: { CPU: 2 }, wait: "Infinity" }, () => Effect.void)))
      const after: Array<number> = []
      for (const seconds of [9, 1, 10, 19, 1, 39, 1]) {
        yield* TestClock.adjust(`${seconds} seconds`)
        after.push(told.length)
      }
      assert.deepStrictEqual(after, [0, 1, 2, 2, 3, 3, 4])
      assert.strictEqual(
        told[0],
        "Ray: waiting waits for room: pack of 2 × {CPU 2} does not fit: node a (10.0.0.1, the driver's) has CPU 1 of 4 free"
      )
      yield* Fiber.interrupt(waiting)
    }).pipe(Effect.scoped))
})
