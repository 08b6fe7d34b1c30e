import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Engine from "../src/Engine.ts"
import * as Model from "../src/Model.ts"
import * as Safetensors from "../src/Safetensors.ts"
import type { WeightsError } from "../src/WeightsError.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "phalanx-weights-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

const pack = (header: string | Uint8Array, data: number | Uint8Array, length?: bigint) => {
  const text = Buffer.from(header as Uint8Array)
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(length ?? BigInt(text.length))
  return Buffer.concat([head, text, typeof data === "number" ? Buffer.alloc(data) : data])
}

const good = {
  __metadata__: { a: "b" },
  x: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] },
  y: { dtype: "I8", shape: [4], data_offsets: [16, 20] }
}
const json = (value: unknown) => pack(JSON.stringify(value), 20)
const x = (fields: object) => json({ ...good, x: { ...good.x, ...fields } })

const damages: ReadonlyArray<readonly [name: string, bytes: Uint8Array, where: string]> = [
  ["too short for a header", Buffer.from("short"), "byte 0"],
  ["with an absurd header length", pack("{}", 0, 1n << 63n), "byte 0"],
  ["with a header longer than the file", pack("{}", 0, 1000n), "byte 0"],
  ["whose header is not UTF-8", pack(Uint8Array.of(0x7b, 0xff, 0x7d), 0), "byte 8"],
  ["whose header is not JSON", pack("{\"x\":", 20), "byte 8"],
  ["whose header is no object", json([good]), "byte 8"],
  ["whose metadata is no text", json({ ...good, __metadata__: { a: 1 } }), "__metadata__"],
  ["with a tensor of another type", x({ dtype: "F16" }), "byte 8"],
  ["with a negative dimension", x({ shape: [-2, -2] }), "byte 8"],
  ["with an offset that is no integer", x({ data_offsets: [0, 15.5] }), "byte 8"],
  ["with offsets in the wrong order", x({ data_offsets: [16, 0] }), "x"],
  ["with a shape that its bytes do not hold", x({ shape: [2, 3] }), "x"],
  ["with a shape beyond all numbers", x({ shape: [2 ** 52, 2 ** 52] }), "x"],
  ["with tensors that overlap", json({ ...good, y: { ...good.y, data_offsets: [12, 16] } }), "y"],
  ["with bytes of no tensor", json({ ...good, y: { ...good.y, data_offsets: [17, 21] } }), "y"],
  ["that is truncated", pack(JSON.stringify(good), 19), "y"],
  ["with bytes after its end", pack(JSON.stringify(good), 21), `byte ${8 + JSON.stringify(good).length + 20}`]
]

const check = (error: WeightsError, file: string, where: string) => {
  assert.strictEqual(error._tag, "WeightsError")
  assert.strictEqual(error.file, file)
  assert.strictEqual(error.where, where)
  assert.isNotEmpty(error.issue)
  assert.isNotEmpty(error.advice)
}

describe("a safetensors file", () => {
  it.live("is read range by range, and only what is asked for", () =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "good")
      Fs.writeFileSync(file, pack(JSON.stringify(good), Uint8Array.from({ length: 20 }, (_, i) => i)))
      const weights = yield* Safetensors.open(file)
      assert.deepStrictEqual(weights.metadata, { a: "b" })
      assert.deepStrictEqual([...weights.tensors.keys()], ["x", "y"])
      const before = weights.bytesRead()
      assert.deepStrictEqual(yield* weights.read(16, 19, "y"), Uint8Array.of(16, 17, 18))
      assert.strictEqual(weights.bytesRead() - before, 3)
    }))

  it.live.each(damages)("%s is a WeightsError that says where", ([, bytes, where]) =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "damaged")
      Fs.writeFileSync(file, bytes)
      check(yield* Effect.flip(Safetensors.open(file)), file, where)
    }))

  it.live("that is not there, or is a folder, is a WeightsError", () =>
    Effect.gen(function*() {
      const path = yield* folder
      check(yield* Effect.flip(Safetensors.open(Path.join(path, "nothing"))), Path.join(path, "nothing"), "open")
      check(yield* Effect.flip(Safetensors.open(path)), path, "byte 0")
    }))

  it.live("that shrinks while it is open is a WeightsError", () =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "shrinks")
      Fs.writeFileSync(file, json(good))
      const weights = yield* Safetensors.open(file)
      Fs.truncateSync(file, Fs.statSync(file).size - 8)
      check(yield* Effect.flip(weights.read(0, 20, "x")), file, "x")
    }))

  it.live("with any byte of its header changed is read or is a WeightsError", () =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "changed")
      const whole = json(good)
      for (let at = 0; at < whole.length - 20; at++) {
        const bytes = Uint8Array.from(whole)
        bytes[at] = (bytes[at]! * 31 + at * 7 + 1) & 255
        Fs.writeFileSync(file, bytes)
        yield* Safetensors.open(file).pipe(Effect.scoped, Effect.catchTag("WeightsError", () => Effect.void))
      }
    }))
})

describe("a model file", () => {
  type Header = Record<string, any>
  const changed = (change: (header: Header) => void) =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "model")
      const original = Fs.openSync(Model.file, "r")
      const head = Buffer.alloc(8)
      Fs.readSync(original, head, 0, 8, 0)
      const text = Buffer.alloc(Number(head.readBigUInt64LE()))
      Fs.readSync(original, text, 0, text.length, 8)
      Fs.closeSync(original)
      const header = JSON.parse(text.toString())
      change(header)
      const bytes = pack(JSON.stringify(header), 0)
      Fs.writeFileSync(file, bytes)
      // The data is a hole in the file: only the header counts here.
      Fs.truncateSync(file, bytes.length + Fs.statSync(Model.file).size - 8 - text.length)
      return file
    })

  const cases: ReadonlyArray<readonly [string, (header: Header) => void, string]> = [
    ["of another version", (h) => h["__metadata__"].format_version = "2", "__metadata__.format_version"],
    ["without metadata", (h) => delete h["__metadata__"], "__metadata__.format_version"],
    ["with a hyper-parameter that is no number", (h) => h["__metadata__"].n_layers = "four", "__metadata__"],
    ["with more experts a byte than the kernel has", (h) => h["__metadata__"].top_k = "8", "__metadata__"],
    ["whose heads do not make its width", (h) => h["__metadata__"].n_heads = "4", "__metadata__.n_heads"],
    ["whose tensors are fewer than its layers", (h) => h["__metadata__"].n_layers = "5", "layers.4.attn.norm.weight"],
    ["with a tensor of another shape", (h) => h["layers.1.attn.q.weight"].shape = [128, 512], "layers.1.attn.q.weight"],
    ["with a tensor of another type", (h) => Object.assign(h["norm.weight"], { dtype: "I8", shape: [1024] }), "norm.weight"]
  ]

  it.live.each(cases)("%s is a WeightsError that says where", ([, change, where]) =>
    Effect.gen(function*() {
      const file = yield* changed(change)
      check(yield* Effect.flip(Engine.make({ file })), file, where)
    }))

  it.live("gives a rank its own experts and dense weights and nothing else", () =>
    Effect.gen(function*() {
      const model = yield* Model.open(Model.file)
      const header = model.weights.bytesRead()
      const size = Fs.statSync(Model.file).size
      const experts = 4 * 32 * Model.expertBytes(model.config)
      const engine = yield* Engine.make({ rank: 1, ranks: 4 })
      assert.strictEqual(engine.stats().bytesRead, size - (experts * 3) / 4)
      assert.deepStrictEqual(engine.stats().experts, Array.from({ length: 4 }, () => [8, 9, 10, 11, 12, 13, 14, 15]))
      assert.strictEqual((yield* Engine.make({ experts: [] })).stats().bytesRead, size - experts)
      assert.isBelow(header, 100_000)
    }))
})
