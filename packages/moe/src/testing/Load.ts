/**
 * Requests without end: so many at a time, each followed by another. And what each of them has to be, written by one rank that nobody disturbs.
 */
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Generator from "../Generator.ts"
import * as Moe from "../Moe.ts"

const words = ["actor", "black hole", "river", "happy", "hack", "Einstein", "quantum teapot", "moon", "go", "x", "bread", "piano"]

/** A finished text: the number of its request, and its bytes. */
export interface Text {
  readonly n: number
  readonly bytes: ReadonlyArray<number>
}

/** The n-th request: every third one is sampled, with a seed of its own. */
export const request = (n: number): Generator.Request => ({
  prompt: Generator.headword(words[n % words.length]!),
  maxTokens: 40 + (n * 37) % 60,
  sampling: { temperature: n % 3 === 2 ? 0.8 : 0, seed: n }
})

/** Who answers, how many requests are open at a time (default 16), and who is told of each event of the n-th one. */
export interface Options {
  readonly generator: Pick<Generator.Generator["Service"], "stream">
  readonly open?: number | undefined
  readonly onToken?: ((n: number) => void) | undefined
  /** The id of the n-th request. Default: none. */
  readonly id?: ((n: number) => string) | undefined
}

/** Begins, and goes on until it is stopped or its scope ends. `stop` takes no more requests, waits for those that are open and gives all texts; it fails as a request does. */
export const start = Effect.fnUntraced(function*({ generator, id, onToken, open = 16 }: Options) {
  const texts: Array<Text> = []
  let sent = 0
  let stopped = false
  const one = Effect.suspend(() => {
    const n = sent++
    const bytes: Array<number> = []
    const take = (event: Generator.Event): void => {
      onToken?.(n)
      if (event._tag === "Byte") bytes.push(event.byte)
    }
    return Effect.map(
      Stream.runForEach(generator.stream({ ...request(n), id: id?.(n) }), (event) => Effect.sync(() => take(event))),
      () => {
        texts.push({ n, bytes })
      }
    )
  })
  const writer = Effect.whileLoop({ while: () => !stopped, body: () => one, step: () => {} })
  const fiber = yield* Effect.forkScoped(Effect.all(Array.from({ length: open }, () => writer), { concurrency: "unbounded" }))
  return {
    sent: () => sent,
    stop: Effect.suspend(() => {
      stopped = true
      return Effect.as(Fiber.join(fiber), texts)
    })
  }
})

/** How many of the texts are as they have to be. */
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
