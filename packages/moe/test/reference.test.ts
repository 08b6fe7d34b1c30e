import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import type * as Engine from "../src/Engine.ts"
import * as Forward from "../src/Forward.ts"
import * as Sampling from "../src/Sampling.ts"
import { Alone } from "./ranks.ts"

interface Prompt {
  readonly name: string
  readonly prompt: string
  readonly output: string
  readonly ended: boolean
  readonly margins: ReadonlyArray<number>
  readonly first_logits?: ReadonlyArray<number>
  readonly router?: ReadonlyArray<ReadonlyArray<{ readonly experts: ReadonlyArray<number>; readonly weights: ReadonlyArray<number> }>>
}
const reference: {
  readonly prompts: ReadonlyArray<Prompt>
  readonly teacher_forced: { readonly entries: ReadonlyArray<string>; readonly bits: ReadonlyArray<number> }
} = JSON.parse(readFileSync(new URL("../model/reference.json", import.meta.url), "utf8"))

const hex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"))
const near = (actual: ArrayLike<number>, expected: ReadonlyArray<number>) => {
  assert.strictEqual(actual.length, expected.length)
  expected.forEach((value, i) => assert.closeTo(actual[i]!, value, 1e-3))
}

layer(Alone.layer)("against the reference in NumPy", (it) => {
  it.effect.each(reference.prompts)(
    "MO-2: $name is continued with the same bytes while the choice is clear",
    (prompt) =>
      Effect.gen(function*() {
        const engine = yield* Alone
        const { bytes, ended } = Forward.generate(engine, hex(prompt.prompt), { limit: 96 })
        const doubtful = prompt.margins.findIndex((margin) => margin < 0.01)
        const clear = doubtful < 0 ? 96 : doubtful
        assert.strictEqual(Buffer.from(bytes.subarray(0, clear)).toString("hex"), prompt.output.slice(0, 2 * clear))
        if (doubtful < 0) assert.strictEqual(ended, prompt.ended)
      })
  )

  it.effect.each(reference.prompts.filter((prompt) => prompt.first_logits !== undefined))(
    "MO-2: $name has the same first logits to a thousandth",
    (prompt) =>
      Effect.gen(function*() {
        const engine = yield* Alone
        engine.release(0)
        near(Forward.prefill(engine, 0, [0, ...hex(prompt.prompt)]), prompt.first_logits!)
      })
  )

  it.effect.each(reference.prompts.filter((prompt) => prompt.router !== undefined))(
    "MO-2: $name goes to the same experts with the same shares to a thousandth",
    (prompt) =>
      Effect.gen(function*() {
        const engine = yield* Alone
        engine.release(0)
        const bytes = [0, ...hex(prompt.prompt), ...hex(prompt.output)]
        prompt.router!.forEach((layers, position) => {
          engine.embed([{ slot: 0, position, token: bytes[position]! }])
          layers.forEach(({ experts, weights }, layer) => {
            engine.attention(layer)
            engine.afterAttention()
            const route = engine.route(layer)
            assert.deepStrictEqual([...route.experts], experts)
            near(route.weights, weights)
            engine.local(layer)
            engine.combine()
          })
        })
      })
  )

  it.effect("MO-2: entries cost the same bits to a thousandth of a bit a byte", () =>
    Effect.gen(function*() {
      const engine = yield* Alone
      const { bits, entries } = reference.teacher_forced
      entries.slice(0, 12).forEach((entry, n) => {
        const tokens = [0, ...Buffer.from(entry)].slice(0, engine.config.context)
        const targets = [...tokens.slice(1), 0]
        let spent = 0
        engine.release(0)
        for (let from = 0; from < tokens.length; from += engine.rows) {
          const rows = tokens.slice(from, from + engine.rows).map((token, i): Engine.Row => ({ slot: 0, position: from + i, token }))
          const logits = Forward.step(engine, rows, rows.map((_, i) => i))
          rows.forEach((_, i) => {
            const row = logits.subarray(i * 256, i * 256 + 256)
            const most = row[Sampling.best(row)]!
            const total = row.reduce((sum, value) => sum + Math.exp(value - most), 0)
            spent += Math.log2(total) - (row[targets[from + i]!]! - most) / Math.LN2
          })
        }
        assert.closeTo(spent / tokens.length, bits[n]! / tokens.length, 1e-3)
      })
    }))
})
