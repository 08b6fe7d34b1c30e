import * as Mesh from "@phalanx/core/Mesh"
import type { Supervision } from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import type { Ranks } from "@phalanx/moe/Ranks"
import * as Effect from "effect/Effect"

/** Model ranks on whatever cluster is provided. */
export const start = (dp: number, tp = 1, supervision?: Supervision<"dp" | "tp">, capacity?: number) =>
  WorkerGroup.make(Moe.Moe, { name: "moe", mesh: Mesh.make({ dp, tp }), entry: Moe.entry(), supervision, capacity })

/** Eight requests of several kinds. */
export const mixed = ["actor", "black hole", "blorptastic", "happy", "Zürich", "x", "quantum teapot", "Einstein"].map((word) => ({
  prompt: Generator.headword(word),
  maxTokens: 24
}))
const temperate = { prompt: Generator.headword("hack"), maxTokens: 24, sampling: { temperature: 0.8, seed: 7 } }

/** Everything that must not depend on how it was computed: bytes of a batch and of one alone, and the bits of logits. */
export const outcome = Effect.fnUntraced(function*(ranks: Ranks["Service"], chunk: number) {
  const generator = yield* Generator.make({ ranks, chunk })
  const together = yield* Effect.forEach([...mixed, temperate], generator.generate, { concurrency: "unbounded" })
  const alone = yield* generator.generate(mixed[1]!)
  const logits = yield* ranks.call.logits({ tokens: Uint8Array.from([0, ...mixed[4]!.prompt]), chunk }, { replyFrom: 0 })
  return {
    together: together.map((result) => [result.finish, ...result.bytes]),
    alone: [alone.finish, ...alone.bytes],
    bits: [...new Uint32Array(Float32Array.from(logits).buffer)]
  }
})
