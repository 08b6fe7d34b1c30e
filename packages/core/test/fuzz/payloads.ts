/** What is in the holes of frames, decoded by the schemas of a method: payloads, replies, elements, failures. */
import * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import { same } from "../../../../test/harness/data.ts"
import { type Decoder, holds } from "../../../../test/harness/fuzz.ts"
import { mutateValue } from "../../../../test/harness/mutate.ts"
import type { Random } from "../../../../test/harness/random.ts"
import * as codec from "../../src/internal/codec.ts"

class Odd extends Schema.TaggedError<Odd>()("Odd", { rank: Schema.Int, cause: Schema.optional(Schema.Defect()) }) {}

class Point extends Schema.Class<Point>("Point")({ x: Schema.Finite, y: Schema.Number }) {}

interface Tree {
  readonly value: number
  readonly children: ReadonlyArray<Tree>
}
const Tree = Schema.Struct({
  value: Schema.Int,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
})

/** One method for each kind of schema that goes over the wire. */
class Kinds extends RpcGroup.make(
  Rpc.make("scalars", {
    payload: { int: Schema.Int, finite: Schema.Finite, number: Schema.Number, text: Schema.String, yes: Schema.Boolean, none: Schema.Null },
    success: Schema.Int,
    error: Odd
  }),
  Rpc.make("rich", {
    payload: { when: Schema.Date, big: Schema.BigInt, bytes: Schema.Uint8Array, span: Schema.Duration, maybe: Schema.Option(Schema.Int) },
    success: Schema.Struct({ bytes: Schema.Uint8Array, when: Schema.Date }),
    error: Odd
  }),
  Rpc.make("lists", {
    payload: {
      list: Schema.Array(Schema.Int),
      pair: Schema.Tuple([Schema.String, Schema.Int]),
      record: Schema.Record(Schema.String, Schema.Int)
    },
    success: Schema.Array(Schema.Union([Schema.Int, Schema.String]))
  }),
  Rpc.make("tree", { payload: Tree, success: Tree }),
  Rpc.make("point", { payload: { point: Point, again: Schema.optionalKey(Schema.Array(Point)) }, success: Point }),
  Rpc.make("free", { payload: { json: Schema.Json }, success: Schema.Json }),
  Rpc.make("elements", { payload: { to: Schema.Int }, success: Schema.Struct({ n: Schema.Int }), error: Odd, stream: true })
) {}

const methods = [...Kinds.requests.values()] as ReadonlyArray<Rpc.AnyWithProps>
const codecs = new Map(methods.map((rpc) => [rpc._tag, { rpc, codec: codec.make(rpc) }]))
const none = Context.empty()

const values: Record<string, (random: Random) => { readonly payload: unknown; readonly success: unknown }> = {
  scalars: (random) => ({
    payload: { int: random.below(9) - 4, finite: 0.5, number: random.pick([1, NaN, Infinity]), text: "ü", yes: random.once(2), none: null },
    success: random.below(5)
  }),
  rich: (random) => ({
    payload: {
      when: new Date(random.word()),
      big: BigInt(random.word()) ** 3n,
      bytes: random.bytes(5),
      span: `${random.below(99)} millis`,
      maybe: { _tag: "None" }
    },
    success: { bytes: random.bytes(3), when: new Date(0) }
  }),
  lists: (random) => ({ payload: { list: [1, 2, random.below(5)], pair: ["a", 1], record: { a: 1, constructor: 2 } }, success: [1, "b"] }),
  tree: (random) => {
    const tree = (depth: number): Tree => ({
      value: depth,
      children: random.list(depth === 0 ? 0 : random.below(3), () => tree(depth - 1))
    })
    // As deep as a frame can be.
    let deep: Tree = { value: 0, children: [] }
    for (let depth = 120; depth > 0; depth--) deep = { value: depth, children: [deep] }
    return { payload: random.once(8) ? deep : tree(3), success: tree(2) }
  },
  point: () => ({ payload: { point: new Point({ x: 1, y: 2 }) }, success: new Point({ x: 1, y: 2 }) }),
  free: (random) => {
    let deep: Schema.Json = null
    for (let depth = 250; depth > 0; depth--) deep = random.once(2) ? [deep] : { deep }
    return { payload: { json: random.once(8) ? deep : { a: [1, null, { b: "c" }, random.below(9)] } }, success: [[]] }
  },
  elements: () => ({ payload: { to: 1 }, success: { n: 1 } })
}

interface Hole {
  readonly method: string
  readonly part: "payload" | "success" | "chunk" | "exit"
  readonly value: unknown
}

const encoded = (exit: Exit.Exit<any, string>): unknown => {
  if (exit._tag === "Failure") throw new Error(`a sample that cannot be encoded: ${exit.cause}`)
  return exit.value
}

const failure = (random: Random): unknown => ({
  _tag: "Failure",
  cause: random.pick([
    [{ _tag: "Fail", error: { _tag: "Odd", rank: 1 } }],
    [{ _tag: "Die", defect: { name: "Error", message: "boom" } }],
    [{ _tag: "Interrupt", fiberId: null }],
    [{ _tag: "Die", defect: "boom" }, { _tag: "Fail", error: { _tag: "Odd", rank: 2, cause: { name: "E", message: "m" } } }]
  ])
})

export const holes: Decoder = {
  name: "holes",
  sample: (random): Hole => {
    const [method, { codec }] = random.pick([...codecs])
    const streams = method === "elements"
    const part = random.pick(["payload", streams ? "chunk" : "success", "exit"] as const)
    if (part === "exit") return { method: random.pick(["scalars", "rich", "elements"]), part, value: failure(random) }
    const { payload, success } = values[method]!(random)
    // Options and durations come in as their schemas hold them; what they look like on the wire is what counts here.
    if (part === "payload") {
      return {
        method,
        part,
        value: method === "rich"
          ? {
            ...(payload as object),
            big: "123",
            when: "2026-01-01T00:00:00.000Z",
            maybe: { _tag: "None" },
            span: { _tag: "Millis", value: 5 }
          }
          : encoded(codec.encodePayload(payload, none))
      }
    }
    return part === "chunk"
      ? { method, part, value: encoded(codec.encodeChunk([success], none)) }
      : { method, part, value: encoded(codec.encodeSuccess(success, none)) }
  },
  mutate: (hole: Hole, random) => ({ ...hole, value: mutateValue(hole.value, random) }),
  judge: ({ method, part, value }: Hole) => {
    const entry = codecs.get(method)
    if (entry === undefined) return "no method"
    const { codec, rpc } = entry
    const [decode, encode] = {
      payload: [codec.decodePayload, codec.encodePayload] as const,
      success: [codec.decodeSuccess, codec.encodeSuccess] as const,
      chunk: [codec.decodeChunk, codec.encodeChunk] as const,
      exit: [codec.decodeExit, codec.encodeExit] as const
    }[part]
    const exit = decode(value, none)
    if (exit._tag === "Failure") {
      const [reason] = exit.cause.reasons
      holds(reason?._tag === "Fail" && typeof reason.error === "string", `failed with ${exit.cause}`)
      const issue = String((reason as any).error)
      holds(issue.length < 10_000, `an issue of ${issue.length} characters`)
      return `refused: ${issue.replace(/\s+/g, " ").replace(/at \[.*/s, "at …")}`
    }
    if (part === "payload") holds(Schema.is(rpc.payloadSchema)(exit.value), "took a payload that does not fit its schema")
    if (part === "success" && !codec.streams) holds(Schema.is(rpc.successSchema)(exit.value), "took a reply that does not fit its schema")
    const again = encode(exit.value, none)
    holds(again._tag === "Success", "took what cannot be written again")
    const twice = decode((again as any).value, none)
    holds(
      twice._tag === "Success" && same((encode((twice as any).value, none) as any).value, (again as any).value),
      "does not read what it wrote"
    )
    return `accepted ${part} of ${method}`
  }
}
