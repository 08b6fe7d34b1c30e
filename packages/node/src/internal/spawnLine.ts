/**
 * What is written to a worker's standard input: first all that the worker has to know, on no command line and in no environment, since both can be
 * read by others; then, where its keeper outlives its driver, a line for each other driver.
 */
import { Claim } from "@phalanx/core/Claim"
import { Identity } from "@phalanx/core/Identity"
import * as Schema from "effect/Schema"

export const SpawnLine = Schema.fromJsonString(Schema.Struct({
  node: Schema.String,
  /** The URL of the worker's module. */
  entry: Schema.String.check(Schema.makeFilter((url: string) => URL.canParse(url) || "not a URL")),
  /** Milliseconds that the worker has to end in order once it was told to. */
  grace: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  /** What its lanes to other ranks need: the folder of segments, the address to bind. */
  queues: Schema.Struct({ folder: Schema.optionalKey(Schema.String), host: Schema.optionalKey(Schema.String) }),
  /** The descriptor of its flight recorder, if it has one. */
  flight: Schema.optionalKey(Schema.Int),
  /** It outlives its driver and may be given another one. */
  kept: Schema.optionalKey(Schema.Boolean),
  identity: Identity
}))
export type SpawnLine = typeof SpawnLine.Type

/** Another driver's claim, with its proof that it knows the group's secret. */
export const ClaimLine = Schema.fromJsonString(Schema.Struct({ claim: Claim, proof: Schema.String }))

/** What a claim's proof is about. */
export const aboutClaim = ({ driver, handle: { data, transport } }: Claim): string => `claim ${driver} ${transport} ${JSON.stringify(data)}`
