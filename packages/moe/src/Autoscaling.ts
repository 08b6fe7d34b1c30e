/**
 * Ranks that become more and fewer by what they have to do: `Autoscaler` of `@phalanx/elastic`, fed with what a generator knows of its requests.
 */
import * as Autoscaler from "@phalanx/elastic/Autoscaler"
import type { Elastic } from "@phalanx/elastic/Elastic"
import type { Resizable } from "@phalanx/elastic/Resizable"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Generator from "./Generator.ts"

/** When ranks become more or fewer. Of a `policy`, `queued` counts requests that wait, `tokensInFlight` tokens of those that run, and `latencyMillis` is the time from step to step. */
export type Options = Pick<Autoscaler.Options<never, never>, "policy" | "every" | "deadline">

/** What the generator's ranks have to do at this moment. */
export const load: Effect.Effect<Autoscaler.Load, never, Generator.Generator> = Effect.map(
  Effect.flatMap(Generator.Generator, ({ load }) => load),
  ({ stepMillis, tokens, waiting }) => ({
    queued: waiting,
    tokensInFlight: tokens,
    ...(stepMillis === undefined ? {} : { latencyMillis: stepMillis })
  })
)

/** Changes the size of `ElasticRanks` along `dp` until the layer ends. Throws a `RangeError` for a policy that cannot be. */
export const layer = (options: Options): Layer.Layer<Autoscaler.Autoscaler, never, Elastic | Resizable | Generator.Generator> =>
  Autoscaler.layer({ ...options, along: "dp", load })
