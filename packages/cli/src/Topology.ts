/**
 * How many ranks, and on which dimensions: `--ranks`, `--dp` and `--tp` together must make sense.
 */
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

const Positive = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 32 }))
const count = (name: string, description: string) =>
  Flag.Int(name).pipe(Flag.withSchema(Positive), Flag.withDescription(description), Flag.optional)

/** The three flags. */
export const flags = {
  ranks: count("ranks", "Worker processes: dp × tp; alone it means dp. Default: 4"),
  dp: count("dp", "Ranks that own requests, each with its share of the experts"),
  tp: count("tp", "Ranks that share one owner's attention heads: 1, 2 or 4")
}

/** Flags that contradict each other, or a mesh that the model does not split into. */
export class TopologyError extends Schema.TaggedError<TopologyError>()("TopologyError", { issue: Schema.String }) {
  override get message(): string {
    return this.issue
  }
  override get [CliError.userMessage](): string {
    return this.issue
  }
}

/** The mesh that the flags ask for. */
export const resolve = Effect.fnUntraced(function*(given: {
  readonly ranks: Option.Option<number>
  readonly dp: Option.Option<number>
  readonly tp: Option.Option<number>
}) {
  const tp = Option.getOrElse(given.tp, () => 1)
  if (![1, 2, 4].includes(tp)) return yield* new TopologyError({ issue: `--tp ${tp}: eight attention heads are shared by 1, 2 or 4 ranks` })
  const ranks = Option.getOrUndefined(given.ranks)
  const dp = Option.getOrElse(given.dp, () => ranks === undefined ? (tp === 1 ? 4 : 1) : ranks / tp)
  if (!Number.isInteger(dp)) return yield* new TopologyError({ issue: `--ranks ${ranks} is not a multiple of --tp ${tp}` })
  if (ranks !== undefined && dp * tp !== ranks) {
    return yield* new TopologyError({ issue: `--dp ${dp} and --tp ${tp} make ${dp * tp} ranks, not --ranks ${ranks}` })
  }
  if (dp * tp > 32) return yield* new TopologyError({ issue: `${dp * tp} ranks: 32 experts are spread over 32 ranks at most` })
  return { dp, tp }
})
