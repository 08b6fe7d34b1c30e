import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Engine from "../src/Engine.ts"
import * as Placement from "../src/Placement.ts"

/** The whole model in one engine, which every test of a file may use: slots it takes it releases first. */
export class Alone extends Context.Service<Alone, Engine.Engine>()("@phalanx/moe/test/Alone") {
  static readonly layer = Layer.effect(Alone, Engine.make().pipe(Effect.orDie))
}

/** Engines of dp × tp ranks in one process, rank = dp index * tp + tp index. */
export const make = Effect.fnUntraced(function*(dp: number, tp: number) {
  const ranks = dp * tp
  const all = yield* Effect.forEach(
    Array.from({ length: ranks }, (_, rank) => rank),
    (rank) => Engine.make({ rank, ranks, tp: { index: rank % tp, size: tp } })
  )
  return {
    all,
    /** One forward pass of each dp coordinate's batch, with what collectives would carry handed over by hand. Returns a copy of all logits. */
    step: (batches: ReadonlyArray<ReadonlyArray<Engine.Row>>): ReadonlyArray<Float32Array> => {
      const members = batches.map((_, d) => all.slice(d * tp, d * tp + tp))
      members.forEach((engines, d) => engines.forEach((engine) => engine.embed(batches[d]!)))
      const { d_model, n_experts, n_layers } = all[0]!.config
      for (let layer = 0; layer < n_layers; layer++) {
        for (const engines of members) {
          const parts = engines.map((engine) => engine.attention(layer).slice())
          engines.forEach((engine) => engine.afterAttention(parts))
          const routes = engines.map((engine) => engine.route(layer))
          const { experts, h } = { experts: routes[0]!.experts.slice(), h: routes[0]!.h.slice() }
          experts.forEach((expert, i) => {
            const row = Math.floor(i / 4)
            const owner = all[Placement.owner(expert, n_experts, ranks)]!
            const y = owner.expert(layer, expert, h.subarray(row * d_model, (row + 1) * d_model))
            engines.forEach((engine) => engine.place(row, i % 4, y))
          })
          engines.forEach((engine) => engine.combine())
        }
      }
      return members.map((engines, d) => engines[0]!.logits(batches[d]!.map((_, i) => i)).slice())
    }
  }
})
