/**
 * The protocol between the driver that schedules and the ranks that compute: one `step` fan-out a forward pass. A mesh of `dp` × `tp` ranks; a request is
 * owned by one coordinate of `dp`, whose `tp` ranks split its attention heads; experts are spread over all ranks of both.
 */
import { CollectiveAborted } from "@phalanx/core/Collectives"
import * as Worker from "@phalanx/core/Worker"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

/** A request as its owner gets it. `tokens`: byte 0 and the prompt. It ends with byte 0, after `maxTokens` bytes, or where the context is full. */
export const Opening = Schema.Struct({
  id: Schema.Int,
  /** What its client knows it by. One without belongs to its reader, and ends with it. */
  name: Schema.optionalKey(Schema.String),
  tokens: Schema.Uint8Array,
  maxTokens: Schema.Int,
  /** Of one whose owner is lost: how many of the tokens, the last ones, it has written itself, and how many have been computed before. */
  written: Schema.optionalKey(Schema.Int),
  again: Schema.optionalKey(Schema.Int),
  sampling: Schema.Struct({ temperature: Schema.Finite, seed: Schema.Int })
})
export type Opening = typeof Opening.Type

/** What one coordinate of `dp` does in one step. */
export const Part = Schema.Struct({
  open: Schema.Array(Opening),
  /** Requests that advance, and by how many of their known bytes: a chunk of the prompt, or the one byte that its owner sampled last. */
  run: Schema.Array(Schema.Struct({ id: Schema.Int, take: Schema.Int }))
})
export type Part = typeof Part.Type

/** One step of all ranks; `parts` by coordinate of `dp`. */
export const Plan = Schema.Struct({
  step: Schema.Int,
  parts: Schema.Array(Part),
  /** Requests that wait for a place. Ranks keep them for another driver. */
  keep: Schema.Array(Opening),
  /** Requests that nobody waits for any more, whoever has something of them. */
  close: Schema.Array(Schema.Int)
})
export type Plan = typeof Plan.Type

/** Where experts lie: layer by layer the expert in each slot, the slots of a rank together, in rank order; −1 where there is none. */
export const Slots = Schema.Array(Schema.Array(Schema.Int))
export type Slots = typeof Slots.Type

/**
 * What is left of the steps after one was lost: by coordinate of `dp`, the requests that go on, how many of their bytes the driver has, and how many positions stay (default: those before
 * the last byte, or none of a prompt).
 */
export const Recovery = Schema.Struct({
  slots: Slots,
  parts: Schema.Array(
    Schema.Array(Schema.Struct({ id: Schema.Int, received: Schema.Int, computed: Schema.optionalKey(Schema.Int) }))
  )
})

/** A request as a rank has it: kept for whoever drives next, owned, or at its end. */
export const Holding = Schema.Struct({
  state: Schema.Literals(["waiting", "running", "ended"]),
  opening: Opening,
  /** Bytes sampled since it was opened, with the 0 at its end. */
  bytes: Schema.Uint8Array,
  /** Positions that have been computed. */
  computed: Schema.Int
})
export type Holding = typeof Holding.Type

/** What a rank tells another driver. */
export const Inventory = Schema.Struct({ slots: Slots, holdings: Schema.Array(Holding) })
export type Inventory = typeof Inventory.Type

/** What one rank gives others, by their place among all that are concerned in a change of size. */
export const Gifts = Schema.Struct({
  experts: Schema.Array(Schema.Struct({ layer: Schema.Int, expert: Schema.Int, to: Schema.Array(Schema.Int) })),
  /** Requests of which `to` has the positions before `from`; with `whole` it gets the request itself, too, and owns it from the next epoch on. */
  requests: Schema.Array(Schema.Struct({ id: Schema.Int, from: Schema.Int, to: Schema.Int, whole: Schema.Boolean })),
  /** Who gets what it keeps for another driver, where it leaves. */
  heir: Schema.optionalKey(Schema.Int)
})
export type Gifts = typeof Gifts.Type

/** What a rank has given: bytes in all, and of each request the first position that it has not. */
export const Given = Schema.Struct({
  bytes: Schema.Int,
  positions: Schema.Array(Schema.Tuple([Schema.Int, Schema.Int]))
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

/** A rank's memory, in bytes. */
export const Memory = Schema.Struct({
  /** What its machine has left, or its control group allows, whichever is less. */
  free: Schema.Int,
  /** What it has taken for keys and values of requests, and keeps for others. */
  taken: Schema.Int,
  /** What a request takes at most. */
  request: Schema.Int
})
export type Memory = typeof Memory.Type

/** What a rank holds. */
export const Description = Schema.Struct({
  rank: Schema.Int,
  pid: Schema.Int,
  /** Resident experts, the same of every layer. */
  experts: Schema.Array(Schema.Int),
  /** Bytes of the weights file that it read. */
  bytesRead: Schema.Int,
  memoryBytes: Schema.Int,
  /** The machine that it is on. */
  node: Schema.String,
  /** Requests, of any length, that it takes at most. */
  requests: Schema.Int,
  /** What bounds them besides; left out where `entry` was told how many they are. */
  memory: Schema.optionalKey(Memory)
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
  /** Positions that it has computed more than once, because of a loss. */
  recomputed: Schema.Int,
  /** Requests that it has got from another rank, and those that it owns. */
  inherited: Schema.Int,
  requests: Schema.Int
})
export type Usage = typeof Usage.Type

/**
 * The worker's module. `weights` is another file than the one that ships with the package; each rank opens it for itself, the driver never. `requests`: for how many, of any length, a rank has room (512 KiB
 * for each 64 positions at tp 1); it has to have the memory. Default: as many as half of the memory that is free on its machine holds, which the ranks there share, and 1 to 32: of all ranks the poorest
 * says how many.
 */
export const entry = (options: { readonly weights?: URL | undefined; readonly requests?: number | undefined } = {}): URL => {
  const url = new URL("./worker.ts", import.meta.url)
  if (options.weights !== undefined) url.searchParams.set("weights", options.weights.href)
  if (options.requests !== undefined) url.searchParams.set("requests", String(options.requests))
  return url
}

/** What a model worker serves. */
export class Moe extends RpcGroup.make(
  Rpc.make("describe", { success: Description }),
  /** Fails on the ranks that were waiting for one that is gone. */
  Rpc.make("step", { payload: Plan, success: StepReply, error: CollectiveAborted }),
  /** Forgets what the driver has not heard of, and requests that are not named; answers those named that it does not have. */
  Rpc.make("recover", { payload: Recovery, success: Schema.Array(Schema.Int) }),
  /** Has a driver that is new know what there is. */
  Rpc.make("inventory", { success: Inventory }),
  Rpc.make("usage", { success: Usage }),
  /** How many rows each expert was wanted for by this rank's requests, layer by layer, since the worker started. */
  Rpc.make("load", { success: Schema.Array(Schema.Array(Schema.Int)) }).annotate(Worker.Concurrent, true),
  /** Gives and takes, all ranks that are concerned at once, while steps go on. */
  Rpc.make("give", { payload: Gifts, success: Given, error: CollectiveAborted }).annotate(Worker.Concurrent, true),
  /**
   * Says where experts will lie in an epoch to come, and has its members make so many passes of which nobody wants anything; answers how many of its own experts the rank had to read from the
   * file.
   */
  Rpc.make("expect", {
    payload: { epoch: Schema.Int, slots: Slots, rehearsals: Schema.Int },
    success: Schema.Int,
    error: CollectiveAborted
  }).annotate(Worker.Concurrent, true),
  /** Says where experts lie from the next step on; answers how many of its own the rank had to read from the file. */
  Rpc.make("place", { payload: { slots: Slots }, success: Schema.Int }),
  /** The epoch that was expected does not come: whatever was given for it is dropped. */
  Rpc.make("forget").annotate(Worker.Concurrent, true),
  /** Logits after the request's last byte, for comparing with the reference; computed alone, touching no request. */
  Rpc.make("logits", { payload: { tokens: Schema.Uint8Array, chunk: Schema.Int }, success: Schema.Array(Schema.Finite) })
) {}
