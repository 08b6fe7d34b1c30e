import { assert, it } from "@effect/vitest"
import * as MessageQueue from "@phalanx/queue/MessageQueue"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { randomBytes, randomInt } from "node:crypto"
import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, head } from "../../../test/harness/ray.ts"
import * as ControlPlane from "../src/ray/ControlPlane.ts"
import * as RayScalings from "../src/ray/RayScalings.ts"
import * as Table from "../src/ray/Table.ts"

const ringEcho = fileURLToPath(new URL("./fixtures/ringEcho.py", import.meta.url))

describe("the ring in Python", () => {
  it.live("gives back every frame byte for byte, whichever end sleeps, hears of the end and leaves nothing", () =>
    Effect.gen(function*() {
      const handles = yield* Effect.scoped(Effect.gen(function*() {
        const queue = MessageQueue.make({ readers: 1, capacity: 4096, name: "echo", spin: "20 micros" })
        const asked = yield* queue
        const { handle } = yield* queue
        const answers = yield* MessageQueue.attach(handle, 0)
        const told = (handle: MessageQueue.Handle) => ({ handle, places: MessageQueue.places(handle, 0) })
        const argument = JSON.stringify({ asked: told(asked.handle), answers: told(handle) })
        const child = spawn("python3", [ringEcho, argument], { stdio: "inherit" })
        const exit = new Promise<number | null>((resume) => child.once("exit", resume))
        // So few at once that what is under way fits into either ring, which they go round dozens of times.
        for (let round = 0; round < 150; round++) {
          const frames = Array.from({ length: randomInt(1, 5) }, () => randomBytes(randomInt(0, 500)))
          for (const frame of frames) yield* asked.publishBytes(frame)
          for (const frame of frames) assert.deepStrictEqual(Buffer.from(yield* answers.takeBytes), frame)
        }
        yield* asked.close
        assert.strictEqual(yield* Effect.promise(() => exit), 0)
        return [asked.handle, handle]
      }))
      for (const { folder, segment } of handles) assert.isFalse(readdirSync(folder).some((file) => file.startsWith(segment)))
    }), 20_000)
})

describe("a bench on Ray", () => {
  it.live(
    "has the model written in three ways, which write the same, and tells them beside what vLLM has published",
    () =>
      Effect.gen(function*() {
        const { address, python, token } = yield* head
        const comparison = yield* ControlPlane.run({ head: { address, token }, python, ranks: 1, rounds: 1, tokens: 4 })
        for (const way of ControlPlane.ways) {
          const { requests, tokens, tpot } = comparison.served[way]
          assert.deepStrictEqual([requests, tokens], [8, 32])
          assert.isAbove(tpot.mean, 0)
        }
        const lines = Table.comparison(comparison, ControlPlane.ways).split("\n")
        assert.match(lines.find((line) => line.startsWith("vLLM's own mean TPOT"))!, /40\.95 +41\.11 +45\.88$/)
      }),
    120_000
  )
})

describe(
  "changes of size on Ray",
  () => {
    it.live(
      "RY-9: two changes of the model's size under load leave placement groups, actors, processes and files as they were",
      () =>
        Effect.gen(function*() {
          const { address, python, token } = yield* head
          const changes: Array<readonly [number, number]> = []
          const scaled = yield* RayScalings.run(
            { head: { address, token }, python, sizes: [3, 2] },
            ({ from, to }) => void changes.push([from, to])
          )
          assert.deepStrictEqual(changes, [[2, 3], [3, 2]])
          assert.deepStrictEqual([scaled.completed, scaled.identical, scaled.recomputed], [scaled.requests, scaled.requests, 0])
          assert.strictEqual(scaled.held.length, 2)
          assert.deepInclude(scaled.held[0], { "placement groups": 2, actors: 2, processes: 4 })
          assert.deepStrictEqual(RayScalings.grown(scaled), [])
          assert.deepStrictEqual(RayScalings.grown({ ...scaled, held: [...scaled.held, { ...scaled.held[0], actors: 3 }] }), ["actors"])
          assert.include(RayScalings.words(scaled), "Nothing that is counted has grown.")
        }),
      120_000
    )
  },
  () =>
    process.env["PHALANX_RAY"] === "all" ? undefined : "the model under load takes ten seconds of a processor, and PHALANX_RAY is not `all`"
)
