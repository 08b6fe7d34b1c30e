import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { describe } from "../../../test/harness/ray.ts"
import * as Bridge from "../src/internal/bridge.ts"

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url))
const python = fixture("withoutRay.py")

describe("the bridge", () => {
  it.live("RY-5: a placement group that is given up while Ray makes it is given back", () =>
    Effect.gen(function*() {
      const bridge = yield* Bridge.make({
        python,
        address: "127.0.0.1:6379",
        namespace: "test",
        runtimeEnv: null,
        token: undefined,
        ttl: 0,
        within: 10,
        sinks: new Map(),
        news: () => {}
      })
      const group = "given up"
      const reserving = yield* Effect.forkChild(
        bridge.ask("reserve", { group, bundles: [{ CPU: 1 }], strategy: "PACK", pins: [null], patience: 1 }),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(reserving)
      yield* bridge.ask("release", { group })
      const given = Effect.map(bridge.ask("nodes", {}), ([node]) => ({ made: node!.total["made"], free: node!.free["CPU"] }))
      yield* Effect.repeat(given, { until: ({ made }) => made === 1 })
      const kept = yield* Effect.repeat(given, { until: ({ free }) => free === 4, times: 100 })
      assert.deepStrictEqual(kept, { made: 1, free: 4 })
    }).pipe(Effect.scoped))
})

/** What a script about agents prints, as JSON. */
const told = (script: string): unknown => JSON.parse(execFileSync(python, [fixture(script)], { encoding: "utf8", timeout: 10_000 }))

describe("an agent", () => {
  it("CO-4: a worker's last words come before its end, however much of others its bridge has not asked for", () => {
    assert.deepStrictEqual(told("lastWords.py"), [["stderr", "last words\n"], ["exit", 3]])
  })

  it("RY-5: a worker that cannot be started leaves its agent no descriptor", () => assert.strictEqual(told("failingStarts.py"), 0))
})
