/**
 * Requests without end: sixteen at a time, each followed by another. And what each of them has to be, computed by ranks that never change.
 */
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import { Effect, Fiber, Stream } from "effect"
import type { Timeline } from "./timeline.ts"

const words = ["actor", "black hole", "river", "happy", "hack", "Einstein", "quantum teapot", "moon", "go", "x", "bread", "piano"]

export interface Text {
  readonly n: number
  readonly bytes: ReadonlyArray<number>
}

/** The n-th request: every third one is sampled, with a seed of its own. */
const request = (n: number): Generator.Request => ({
  prompt: Generator.headword(words[n % words.length]!),
  maxTokens: 40 + (n * 37) % 60,
  sampling: { temperature: n % 3 === 2 ? 0.8 : 0, seed: n }
})

export const start = Effect.fnUntraced(function*(generator: Generator.Generator["Service"], timeline: Timeline) {
  const texts: Array<Text> = []
  let sent = 0
  let stopped = false
  const one = Effect.suspend(() => {
    const n = sent++
    const bytes: Array<number> = []
    const take = (event: Generator.Event): void => {
      timeline.token(n)
      if (event._tag === "Byte") bytes.push(event.byte)
    }
    return Effect.map(Stream.runForEach(generator.stream(request(n)), (event) => Effect.sync(() => take(event))), () => {
      texts.push({ n, bytes })
    })
  })
  const writer = Effect.whileLoop({ while: () => !stopped, body: () => one, step: () => {} })
  const fiber = yield* Effect.forkScoped(Effect.all(Array.from({ length: 16 }, () => writer), { concurrency: "unbounded" }))
  return {
    sent: () => sent,
    /** Takes no more requests and waits for those that are open. */
    stop: Effect.suspend(() => {
      stopped = true
      return Effect.as(Fiber.join(fiber), texts)
    })
  }
})

/** How many of the texts are those that one rank, which nobody disturbs, writes. */
export const compare = Effect.fnUntraced(
  function*(texts: ReadonlyArray<Text>) {
    const ranks = yield* WorkerGroup.make(Moe.Moe, { mesh: Mesh.make({ dp: 1, tp: 1 }), entry: Moe.entry() })
    const generator = yield* Generator.make({ ranks, requests: 32 })
    const same = yield* Effect.forEach(
      texts,
      ({ bytes, n }) => Effect.map(generator.generate(request(n)), (result) => result.bytes.toString() === bytes.toString()),
      { concurrency: 32 }
    )
    return same.filter(Boolean).length
  },
  Effect.scoped,
  Effect.provide(Cluster.layerMemory)
)
