/**
 * Ranks that become more and fewer by what they have to do: `Autoscaler` of `@phalanx/elastic`, fed with what a generator knows of its requests.
 */
import * as Autoscaler from "@phalanx/elastic/Autoscaler"
import type { Elastic } from "@phalanx/elastic/Elastic"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ElasticRanks from "./ElasticRanks.ts"
import type * as Generator from "./Generator.ts"

/** What is scaled along `dp`, and when. Of a `policy`, `queued` counts requests that wait, `tokensInFlight` tokens of those that run, and `latencyMillis` is the time from step to step. */
export interface Options extends ElasticRanks.Options, Pick<Autoscaler.Options<never, never>, "policy" | "every" | "deadline"> {}

/** What a generator's ranks have to do at this moment. */
export const load = (generator: Generator.Generator["Service"]): Effect.Effect<Autoscaler.Load> =>
  Effect.map(generator.load, ({ stepMillis, tokens, waiting }) => ({
    queued: waiting,
    tokensInFlight: tokens,
    ...(stepMillis === undefined ? {} : { latencyMillis: stepMillis })
  }))

/** Changes the number of ranks until the layer ends. Throws a `RangeError` for a policy that cannot be. */
export const layer = ({ deadline, every, policy, ...options }: Options): Layer.Layer<Autoscaler.Autoscaler, never, Elastic> =>
  Autoscaler.layer({ group: ElasticRanks.make(options), along: "dp", policy, load: load(options.generator), deadline, every })
