/**
 * The protocol between the driver that schedules and the ranks that compute: one `step` fan-out a forward pass. A mesh of `dp` × `tp` ranks; a request is
 * owned by one coordinate of `dp`, whose `tp` ranks split its attention heads; experts are spread over all ranks of both.
 */
import { CollectiveAborted } from "@phalanx/core/Collectives"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

/** A request as its owner gets it. `tokens`: byte 0 and the prompt. It ends with byte 0, after `maxTokens` bytes, or where the context is full. */
export const Opening = Schema.Struct({
  id: Schema.Int,
  tokens: Schema.Uint8Array,
  maxTokens: Schema.Int,
  sampling: Schema.Struct({ temperature: Schema.Finite, seed: Schema.Int })
})
export type Opening = typeof Opening.Type

/** What one coordinate of `dp` does in one step. */
export const Part = Schema.Struct({
  open: Schema.Array(Opening),
  /** Requests that advance, and by how many of their known bytes: a chunk of the prompt, or the one byte that its owner sampled last. */
  run: Schema.Array(Schema.Struct({ id: Schema.Int, take: Schema.Int })),
  /** Requests that nobody waits for any more. */
  close: Schema.Array(Schema.Int)
})
export type Part = typeof Part.Type

/** One step of all ranks; `parts` by coordinate of `dp`. */
export const Plan = Schema.Struct({ step: Schema.Int, parts: Schema.Array(Part) })
export type Plan = typeof Plan.Type

/** What is left of the steps after one was lost: by coordinate of `dp`, the requests that go on and how many of their bytes the driver has. */
export const Recovery = Schema.Struct({
  parts: Schema.Array(Schema.Array(Schema.Struct({ id: Schema.Int, received: Schema.Int })))
})

/** What a rank did in one step. */
export const StepReply = Schema.Struct({
  /** Request and sampled byte, 0 being the end; empty from ranks other than the first of their `tp`. */
  tokens: Schema.Array(Schema.Tuple([Schema.Int, Schema.Int])),
  /** Requests of the plan that had ended before it came: a step past the end. */
  dropped: Schema.Int,
  /** When it began and had ended, in milliseconds of a clock that all processes of a machine share. */
  began: Schema.Finite,
  ended: Schema.Finite,
  /** Milliseconds of these in waiting for other ranks; the rest is own arithmetic. */
  waited: Schema.Finite
})
export type StepReply = typeof StepReply.Type

/** What a rank holds. */
export const Description = Schema.Struct({
  rank: Schema.Int,
  pid: Schema.Int,
  /** Resident experts, the same of every layer. */
  experts: Schema.Array(Schema.Int),
  /** Bytes of the weights file that it read. */
  bytesRead: Schema.Int,
  memoryBytes: Schema.Int
})
export type Description = typeof Description.Type

/** What a rank has done since it started. */
export const Usage = Schema.Struct({
  steps: Schema.Int,
  /** Bytes sent to each rank in collectives. */
  sent: Schema.Array(Schema.Int),
  /** Expert evaluations: rows that this rank's experts processed. */
  expertRows: Schema.Int,
  dropped: Schema.Int,
  /** Requests whose keys and values it holds. */
  requests: Schema.Int
})
export type Usage = typeof Usage.Type

/** The worker's module. `weights` is another file than the one that ships with the package; each rank opens it for itself, the driver never. */
export const entry = (options?: { readonly weights?: URL | undefined }): URL => {
  const url = new URL("./worker.ts", import.meta.url)
  if (options?.weights !== undefined) url.searchParams.set("weights", options.weights.href)
  return url
}

/** What a model worker serves. */
export class Moe extends RpcGroup.make(
  Rpc.make("describe", { success: Description }),
  /** Fails on the ranks that were waiting for one that is gone. */
  Rpc.make("step", { payload: Plan, success: StepReply, error: CollectiveAborted }),
  /** Forgets what the driver has not heard of, and requests that are not named; answers those named that it does not have. */
  Rpc.make("recover", { payload: Recovery, success: Schema.Array(Schema.Int) }),
  Rpc.make("usage", { success: Usage }),
  /** Logits after the request's last byte, for comparing with the reference; computed alone, touching no request. */
  Rpc.make("logits", { payload: { tokens: Schema.Uint8Array, chunk: Schema.Int }, success: Schema.Array(Schema.Finite) })
) {}
