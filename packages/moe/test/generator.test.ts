import { assert, describe, it } from "@effect/vitest"
import * as Cluster from "@phalanx/core/Cluster"
import * as Supervision from "@phalanx/core/Supervision"
import * as Generator from "@phalanx/moe/Generator"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { readFileSync } from "node:fs"
import { mixed, outcome, start } from "../../../test/harness/outcome.ts"

interface Reference {
  readonly prompts: ReadonlyArray<{
    readonly name: string
    readonly prompt: string
    readonly output: string
    readonly margins: ReadonlyArray<number>
    readonly first_logits?: ReadonlyArray<number>
  }>
}
const reference: Reference = JSON.parse(readFileSync(new URL("../model/reference.json", import.meta.url), "utf8"))
/** What one rank writes that nobody disturbs. Computed once. */
const undisturbed = Effect.runSync(Effect.cached(
  Effect.flatMap(start(1), (ranks) => Generator.make({ ranks })).pipe(
    Effect.flatMap((generator) => Effect.forEach(mixed, generator.generate, { concurrency: "unbounded" })),
    Effect.scoped,
    Effect.provide(Cluster.layerMemory)
  )
))
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"))

/** The reference's bytes, up to the first choice that was closer than `margin`. */
const sure = (row: Reference["prompts"][number], margin: number): Uint8Array => {
  const close = row.margins.findIndex((m) => m < margin)
  const output = bytes(row.output)
  return close === -1 ? output : output.subarray(0, close)
}

describe("Generator, in memory", () => {
  it.live("MO-1: dp 1, 2, 4, chunks of 1, 7, 32, alone or in a batch: equal bits", () =>
    Effect.gen(function*() {
      const outcomes = yield* Effect.forEach([[1, 32], [2, 7], [4, 1]] as const, ([dp, chunk]) =>
        Effect.scoped(Effect.flatMap(start(dp), (ranks) => outcome(ranks, chunk))))
      for (const other of outcomes.slice(1)) {
        assert.deepStrictEqual(other, outcomes[0])
      }
      assert.deepStrictEqual(outcomes[0]!.alone, outcomes[0]!.together[1])
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-2: bytes and first logits agree with the reference, with dp 4 and with tp 2 and 4", () =>
    Effect.gen(function*() {
      const rows = reference.prompts.filter(({ first_logits, name }) => first_logits !== undefined && name !== "300 bytes")
      for (const [dp, tp, margin] of [[4, 1, 0.01], [2, 2, 0.02], [1, 4, 0.02]] as const) {
        yield* Effect.scoped(Effect.gen(function*() {
          const ranks = yield* start(dp, tp)
          const generator = yield* Generator.make({ ranks })
          const results = yield* Effect.forEach(rows, (row) => generator.generate({ prompt: bytes(row.prompt), maxTokens: 24 }), {
            concurrency: "unbounded"
          })
          rows.forEach((row, i) => {
            const want = sure(row, margin).subarray(0, results[i]!.bytes.length)
            assert.deepStrictEqual([...results[i]!.bytes.subarray(0, want.length)], [...want], `${row.name}, dp ${dp}, tp ${tp}`)
          })
          for (const row of rows) {
            const logits = yield* ranks.call.logits({ tokens: Uint8Array.from([0, ...bytes(row.prompt)]), chunk: 32 }, { replyFrom: 0 })
            logits.forEach((logit, i) => assert.closeTo(logit, row.first_logits![i]!, 1e-3))
          }
        }))
      }
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-4: with dp 4 each expert is resident on one rank, and every pair of ranks exchanges bytes", () =>
    Effect.gen(function*() {
      const ranks = yield* start(4)
      const described = yield* ranks.call.describe()
      assert.deepStrictEqual(described.flatMap(({ experts }) => experts), Array.from({ length: 32 }, (_, e) => e))
      for (const { bytesRead } of described) assert.isBelow(bytesRead, 14_460_768 / 2)
      const generator = yield* Generator.make({ ranks })
      yield* Effect.forEach(mixed, generator.generate, { concurrency: "unbounded" })
      const usage = yield* ranks.call.usage()
      usage.forEach(({ sent }, rank) => sent.forEach((count, to) => assert.strictEqual(count > 0, rank !== to)))
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-5: plan n+1 is published before the replies of step n, and not when asked not to", () =>
    Effect.gen(function*() {
      const ranks = yield* start(2)
      for (const ahead of [true, false]) {
        const calls: Array<Tracer.Span> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            if (options.name === "call step") calls.push(span)
            return span
          }
        })
        yield* Effect.scoped(Effect.flatMap(
          Generator.make({ ranks, ahead }),
          (generator) => generator.generate({ prompt: Generator.headword("actor"), maxTokens: 30 })
        )).pipe(Effect.withTracer(tracer))
        const end = ({ status }: Tracer.Span) => status._tag === "Ended" ? status.endTime : 0n
        const early = calls.slice(1).filter((call, i) => call.status.startTime < end(calls[i]!)).length
        assert.isTrue(ahead ? early >= 28 : early === 0, `${early} of ${calls.length}`)
      }
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-6: interrupting a reader frees its place on the owner; a step past an end is dropped and counted", () =>
    Effect.gen(function*() {
      const ranks = yield* start(2)
      const generator = yield* Generator.make({ ranks })
      const fiber = yield* Effect.forkChild(generator.generate({ prompt: Generator.headword("hack"), maxTokens: 400 }), {
        startImmediately: true
      })
      yield* generator.stream({ prompt: Generator.headword("actor") }).pipe(Stream.take(5), Stream.runDrain)
      yield* Fiber.interrupt(fiber)
      yield* Effect.map(ranks.call.usage(), (usage) => usage.reduce((sum, { requests }) => sum + requests, 0)).pipe(
        Effect.repeat({ until: (requests) => requests === 0, schedule: Schedule.spaced("5 millis") })
      )
      assert.deepStrictEqual(yield* generator.load, { running: [0, 0], waiting: 0, tokens: 0, stepMillis: undefined })
      assert.strictEqual((yield* generator.generate({ prompt: Generator.headword("river") })).finish, "stop")
      const usage = yield* ranks.call.usage()
      assert.isAtLeast(usage.reduce((sum, { dropped }) => sum + dropped, 0), 1)
    }).pipe(Effect.provide(Cluster.layerMemory)))

  it.live("MO-7: a rank that dies ends every request with a typed error, later ones too", () =>
    Effect.gen(function*() {
      const ranks = yield* start(2)
      const generator = yield* Generator.make({ ranks })
      const fiber = yield* Effect.forkChild(Effect.flip(generator.generate({ prompt: Generator.headword("hack") })), {
        startImmediately: true
      })
      yield* generator.stream({ prompt: Generator.headword("actor") }).pipe(Stream.take(3), Stream.runDrain)
      yield* ranks.kill(1)
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error._tag, "GenerationError")
      assert.include(error.message, "rank 1")
      assert.strictEqual((yield* Effect.flip(generator.generate({ prompt: Generator.headword("x") })))._tag, "GenerationError")
    }).pipe(Effect.provide(Cluster.layerMemory)))

  for (const [dp, tp] of [[4, 1], [2, 2]] as const) {
    it.live(`MO-9: with restart, ranks that die in mid-sentence lose no request, and the texts are the same (dp ${dp}, tp ${tp})`, () =>
      Effect.gen(function*() {
        const ranks = yield* start(dp, tp, Supervision.restart({ max: 9, per: "1 minute", backoff: "1 millis" }))
        let steps = 0
        const due = new Map([[3, 2], [10, 0], [17, 3], [18, 1]])
        const run = Effect.runForkWith(yield* Effect.context<never>())
        const generator = yield* Generator.make({
          ranks,
          onStep: () => {
            const rank = due.get(++steps)
            if (rank !== undefined) run(ranks.kill(rank))
          }
        })
        assert.deepStrictEqual(yield* Effect.forEach(mixed, generator.generate, { concurrency: "unbounded" }), yield* undisturbed)
        assert.deepStrictEqual(ranks.workers.map(({ incarnation }) => incarnation), [1, 1, 1, 1])
        assert.isTrue((yield* ranks.call.usage()).every(({ requests }) => requests === 0))
      }).pipe(Effect.provide(Cluster.layerMemory)))
  }

  for (const [dp, tp] of [[4, 1], [3, 2]] as const) {
    it.live(`MO-10: with shrink, what a lost rank held is read again, and no request is lost (dp ${dp}, tp ${tp})`, () =>
      Effect.gen(function*() {
        const ranks = yield* start(dp, tp, Supervision.shrink({ along: "dp" }))
        let steps = 0
        const due = new Map([[4, 1], [12, 0]])
        const run = Effect.runForkWith(yield* Effect.context<never>())
        const generator = yield* Generator.make({
          ranks,
          onStep: () => {
            const rank = due.get(++steps)
            if (rank !== undefined) run(ranks.kill(rank))
          }
        })
        assert.deepStrictEqual(yield* Effect.forEach(mixed, generator.generate, { concurrency: "unbounded" }), yield* undisturbed)
        assert.strictEqual(ranks.mesh.shape.dp, dp - 2)
        const described = yield* ranks.call.describe()
        assert.deepStrictEqual(described.flatMap(({ experts }) => experts).sort((a, b) => a - b), Array.from({ length: 32 }, (_, e) => e))
      }).pipe(Effect.provide(Cluster.layerMemory)))
  }

  it.live("MO-8: prompts that cannot be served are typed errors that say what to do", () =>
    Effect.gen(function*() {
      const ranks = yield* start(1)
      const generator = yield* Generator.make({ ranks })
      for (
        const request of [{ prompt: new Uint8Array(512).fill(65) }, { prompt: Uint8Array.of(65, 0) }, {
          prompt: Uint8Array.of(65),
          maxTokens: 0
        }]
      ) {
        assert.strictEqual((yield* Effect.flip(generator.generate(request)))._tag, "PromptError")
      }
      const beside = yield* Effect.forkChild(generator.generate({ prompt: Generator.headword("river"), maxTokens: 9 }), {
        startImmediately: true
      })
      for (const sampling of [{ temperature: 0.5, seed: 1.5 }, { temperature: NaN, seed: 1 }, { temperature: -1, seed: 1 }]) {
        assert.strictEqual((yield* Effect.flip(generator.generate({ prompt: Uint8Array.of(65), sampling })))._tag, "PromptError")
      }
      assert.strictEqual((yield* Fiber.join(beside)).bytes.length, 9)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.scoped(Generator.make({ ranks, chunk: 0 })))))
      const full = yield* generator.generate({ prompt: new Uint8Array(511).fill(65), maxTokens: 9 })
      assert.deepStrictEqual([full.bytes.length, full.finish], [1, "length"])
    }).pipe(Effect.provide(Cluster.layerMemory)))
})
