/**
 * Reads files in the safetensors format: a little-endian u64, a JSON header of that many bytes, then the data. The header is checked in
 * full before anything is read or allocated by its word, and a reader gets exactly the byte ranges it asks for, so that a rank never
 * touches weights it does not hold.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { WeightsError } from "./WeightsError.ts"

/** A tensor's entry in the header. `data_offsets` are bytes from the start of the data, the end exclusive. */
export const Tensor = Schema.Struct({
  dtype: Schema.Literals(["I8", "F32"]),
  shape: Schema.Array(Schema.Natural),
  data_offsets: Schema.Tuple([Schema.Natural, Schema.Natural])
})
export type Tensor = typeof Tensor.Type

const Metadata = Schema.Record(Schema.String, Schema.String)
const Tensors = Schema.Record(Schema.String, Tensor)
const Json = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))

/** An open file whose header is sound. */
export interface Safetensors {
  readonly file: string
  readonly metadata: { readonly [key: string]: string }
  readonly tensors: ReadonlyMap<string, Tensor>
  /** Bytes `begin` to `end` (exclusive) of the data; `where` names them in an error. */
  readonly read: (begin: number, end: number, where: string) => Effect.Effect<Uint8Array, WeightsError>
  /** Bytes read so far, header included. */
  readonly bytesRead: () => number
}

/** The longest header that is read, in bytes. */
export const maxHeader = 16 * 1024 * 1024

const bytesOf = { I8: 1, F32: 4 } as const
const again = "Fetch or export the file again"

/** Opens a file and checks its header; the scope closes it. */
export const open = (location: string | URL): Effect.Effect<Safetensors, WeightsError, Scope.Scope> =>
  Effect.gen(function*() {
    const file = typeof location === "string" ? location : fileURLToPath(location)
    const fail = (where: string, issue: string, advice = again) => new WeightsError({ file, where, issue, advice })
    const attempt = <A>(where: string, advice: string, run: () => Promise<A>) =>
      Effect.tryPromise({
        try: run,
        catch: (cause) => fail(where, cause instanceof Error ? cause.message : String(cause), advice)
      })

    const handle = yield* Effect.acquireRelease(
      attempt("open", "Give the path of a readable model.safetensors", () => Fs.open(file, "r")),
      (handle) => Effect.promise(() => handle.close())
    )
    const size = (yield* attempt("open", "Give the path of a file", () => handle.stat())).size
    let total = 0

    const readAt = Effect.fnUntraced(function*(position: number, length: number, where: string) {
      const bytes = new Uint8Array(length)
      for (let at = 0; at < length;) {
        const { bytesRead } = yield* attempt(
          where,
          "Check the disk and the file's permissions",
          () => handle.read(bytes, at, length - at, position + at)
        )
        if (bytesRead === 0) return yield* fail(where, `the file ends ${length - at} bytes early`)
        at += bytesRead
        total += bytesRead
      }
      return bytes
    })

    if (size < 8) return yield* fail("byte 0", `${size} bytes are too few for a header`)
    const head = yield* readAt(0, 8, "byte 0")
    const length = new DataView(head.buffer).getBigUint64(0, true)
    if (length > BigInt(maxHeader)) return yield* fail("byte 0", `a header of ${length} bytes, of at most ${maxHeader}`)
    if (Number(length) > size - 8) {
      return yield* fail("byte 0", `a header of ${length} bytes in a file of ${size} bytes`)
    }
    const start = 8 + Number(length)
    const raw = yield* readAt(8, Number(length), "byte 8")
    const text = yield* Effect.try({
      try: () => new TextDecoder("utf-8", { fatal: true }).decode(raw),
      catch: () => fail("byte 8", "the header is not UTF-8")
    })
    const decode = <A>(where: string, schema: Schema.Codec<A, unknown>) => (value: unknown) =>
      Schema.decodeUnknownEffect(schema)(value).pipe(Effect.mapError((error) => fail(where, error.message)))

    const { __metadata__: rawMetadata = {}, ...rest } = yield* decode("byte 8", Json)(text)
    const metadata = yield* decode("__metadata__", Metadata)(rawMetadata)
    const tensors = new Map(Object.entries(yield* decode("byte 8", Tensors)(rest)))

    let expected = 0
    const inOrder = [...tensors].sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0])
    for (const [name, tensor] of inOrder) {
      const [begin, end] = tensor.data_offsets
      const bytes = tensor.shape.reduce((product, n) => product * n, bytesOf[tensor.dtype])
      if (end - begin !== bytes) {
        return yield* fail(name, `offsets ${begin} to ${end} do not hold ${tensor.dtype} [${tensor.shape}], ${bytes} bytes`)
      }
      if (begin < expected) return yield* fail(name, `offsets ${begin} to ${end} overlap the tensor before, which ends at ${expected}`)
      if (begin > expected) return yield* fail(name, `bytes ${expected} to ${begin} belong to no tensor`)
      if (end > size - start) {
        return yield* fail(name, `offsets ${begin} to ${end} lie outside the data of ${size - start} bytes: the file is truncated`)
      }
      expected = end
    }
    if (expected !== size - start) {
      return yield* fail(`byte ${start + expected}`, `${size - start - expected} bytes after the last tensor`)
    }

    return {
      file,
      metadata,
      tensors,
      read: (begin, end, where) => readAt(start + begin, end - begin, where),
      bytesRead: () => total
    }
  })
