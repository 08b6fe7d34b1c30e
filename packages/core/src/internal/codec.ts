/**
 * Fills the typed holes of frames. A hole's codec is derived from its schema once a method: canonical JSON data, except that `Uint8Array`s stay
 * what they are, since every transport carries bytes.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaParser from "effect/SchemaParser"

/** A coding either gives a value or the formatted issue, at once: codecs may use services but may not wait. */
export type Coder = (input: unknown, context: Context.Context<never>) => Exit.Exit<any, string>

/** The codec of one method: both halves, since a schema's codec is derived once whoever asks first. */
export interface MethodCodec {
  readonly streams: boolean
  readonly encodePayload: Coder
  readonly decodePayload: Coder
  readonly encodeSuccess: Coder
  readonly decodeSuccess: Coder
  readonly encodeChunk: Coder
  readonly decodeChunk: Coder
  /** Failed exits only: successes have a coder of their own, which is most of the traffic. */
  readonly encodeExit: Coder
  readonly decodeExit: Coder
}

const made = new WeakMap<Rpc.AnyWithProps, MethodCodec>()

/** The codec of a method: made once, however many groups and workers of a process have it. */
export const make = (rpc: Rpc.AnyWithProps): MethodCodec => {
  const known = made.get(rpc)
  if (known !== undefined) return known
  const codec = derive(rpc)
  made.set(rpc, codec)
  return codec
}

/** The class above all others of its kind: each copy of a module has its own. */
const root = (value: object): object => {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype ? value : root(prototype)
}
const ours = root(Schema.Void.ast)

const derive = (rpc: Rpc.AnyWithProps): MethodCodec => {
  // Effect's parsers would take such schemas and then refuse every value that fits.
  if (root(rpc.payloadSchema.ast) !== ours) {
    throw new TypeError(
      `The schemas of method ${rpc._tag} are of another copy of \`effect\` than the one that Phalanx has loaded. Let both find the same one: one version in the project, and one folder (\`npm ls effect\`)`
    )
  }
  const streams = RpcSchema.isStreamSchema(rpc.successSchema)
  const payload = plain(rpc.payloadSchema)
  const success = plain(streams ? Schema.Void : rpc.successSchema)
  const chunk = plain(Schema.NonEmptyArray(streams ? (rpc.successSchema as any).success : Schema.Any))
  const exit = plain(Rpc.exitSchema(rpc as any) as Schema.Top)
  const construct = coder(SchemaParser.makeEffect(rpc.payloadSchema) as any)
  const encodePayload = coder(SchemaParser.encodeUnknownEffect(payload))
  return {
    streams,
    encodePayload: (input, context) => {
      const made = construct(input, context)
      return made._tag === "Failure" ? made : encodePayload(made.value, context)
    },
    decodePayload: coder(SchemaParser.decodeUnknownEffect(payload)),
    encodeSuccess: coder(SchemaParser.encodeUnknownEffect(success)),
    decodeSuccess: coder(SchemaParser.decodeUnknownEffect(success)),
    encodeChunk: coder(SchemaParser.encodeUnknownEffect(chunk)),
    decodeChunk: coder(SchemaParser.decodeUnknownEffect(chunk)),
    encodeExit: coder(SchemaParser.encodeUnknownEffect(exit)),
    decodeExit: coder(SchemaParser.decodeUnknownEffect(exit))
  }
}

const coder = (run: (input: any) => Effect.Effect<unknown, unknown, any>): Coder => (input, context) => {
  const effect = run(input)
  // A parser that waited for nothing returns the exit itself.
  const exit = Exit.isExit(effect) ? effect : Effect.runSyncExitWith(context as Context.Context<any>)(effect)
  if (exit._tag === "Success") return exit as Exit.Exit<any, never>
  const error = Cause.squash(exit.cause)
  return Exit.fail(error instanceof Error ? error.message : new Schema.SchemaError(error as SchemaIssue.Issue).message)
}

const plain = (schema: Schema.Top): Schema.Top => Schema.toCodecJson(Schema.make<Schema.Top>(keepBytes(schema.ast)))

/** How `Schema.Uint8Array` would become base64; annotations that a user adds leave it in place, so it tells byte arrays from all else. */
const toBase64 = Schema.Uint8Array.ast.annotations?.toCodecJson

/** Makes JSON derivation pass over byte arrays, wherever they stand in what a schema encodes to. */
const keepBytes = (ast: SchemaAST.AST): SchemaAST.AST => {
  if (ast.encoding !== undefined) {
    const last = ast.encoding[ast.encoding.length - 1]!
    const to = keepBytes(last.to)
    return to === last.to
      ? ast
      : copy(ast, { encoding: [...ast.encoding.slice(0, -1), new SchemaAST.Link(to, last.transformation)] as any })
  }
  switch (ast._tag) {
    case "Declaration":
      return ast.annotations?.toCodecJson === toBase64 && toBase64 !== undefined
        ? copy(ast, { annotations: { ...ast.annotations, toCodecJson: () => undefined } })
        : ast.typeParameters.length === 0
        ? ast
        : recur(ast)
    case "Arrays":
    case "Objects":
    case "Union":
    case "Suspend":
      return recur(ast)
    default:
      return ast
  }
}

/** `recur` is how Effect's own codec derivations descend; its type is not published. */
const recur = (ast: SchemaAST.AST): SchemaAST.AST => (ast as any).recur(keepBytes)

const copy = (ast: SchemaAST.AST, fields: Partial<SchemaAST.AST>): SchemaAST.AST =>
  Object.assign(Object.create(Object.getPrototypeOf(ast)), ast, fields)
