/** Values of workflows as text of a journal. Effect's engine erases the types of what it is given; so does this. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type * as Workflow from "effect/workflow/Workflow"
import * as JournalErrors from "./journalError.ts"

/** A workflow whose types nobody knows. */
export type AnyWorkflow = Workflow.Workflow<string, Workflow.AnyStructSchema, Schema.Top, Schema.Top>

interface TextCodec<A> extends Schema.Codec<A, string> {}

/** What a workflow is begun with. */
export const payload = (workflow: AnyWorkflow) =>
  Schema.fromJsonString(Schema.toCodecJson(workflow.payloadSchema)) as unknown as TextCodec<object>

interface Ends {
  readonly successSchema: Schema.Constraint
  readonly errorSchema: Schema.Constraint
}
const exits = new WeakMap<Schema.Constraint, WeakMap<Schema.Constraint, TextCodec<Exit.Exit<unknown, unknown>>>>()

/** How a workflow, an activity or a deferred ends. To make it takes longer than to use it, so that it is kept with its schemas. */
export const exit = ({ errorSchema, successSchema }: Ends): TextCodec<Exit.Exit<unknown, unknown>> => {
  const known = exits.get(successSchema) ?? new WeakMap()
  exits.set(successSchema, known)
  const codec = known.get(errorSchema)
    ?? Schema.fromJsonString(Schema.toCodecJson(Schema.Exit(successSchema, errorSchema, Schema.Defect()))) as unknown as TextCodec<
      Exit.Exit<unknown, unknown>
    >
  known.set(errorSchema, codec)
  return codec
}

/** What a schema cannot encode is its own defect. */
export const encode = <A>(codec: TextCodec<A>, value: unknown): Effect.Effect<string> =>
  Effect.orDie(Schema.encodeEffect(codec)(value as A))

/** What cannot be read, named by `what`, is a damaged journal, as a defect. */
export const decode = <A>(codec: TextCodec<A>, text: string, what: string): Effect.Effect<A> =>
  Schema.decodeEffect(codec)(text).pipe(
    Effect.mapError(({ message }) => JournalErrors.make(`read ${what}`, "damaged", message)),
    Effect.orDie
  )
