import { CollectiveAborted } from "@phalanx/core/CollectiveAborted"
import * as Worker from "@phalanx/core/Worker"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

/** Which call it was made for, and who answers: an answer that went astray shows. */
const answer = { call: Schema.Int, rank: Schema.Int }
const Answer = Schema.Struct(answer)

export class Refused extends Schema.TaggedError<Refused>()("Refused", answer) {}

/** Every kind of method. Each is told the number of the call that it serves. */
export class Load extends RpcGroup.make(
  Rpc.make("ping", { payload: { call: Schema.Int }, success: Answer }),
  Rpc.make("echo", {
    payload: { call: Schema.Int, bytes: Schema.Uint8Array },
    success: Schema.Struct({ ...answer, bytes: Schema.Uint8Array })
  }),
  Rpc.make("refuse", { payload: { call: Schema.Int }, success: Answer, error: Refused }),
  /** Never answers. */
  Rpc.make("hold", { payload: { call: Schema.Int }, success: Answer }).annotate(Worker.Concurrent, true),
  /** Elements 1 … `to`, in order. */
  Rpc.make("count", {
    payload: { call: Schema.Int, to: Schema.Int },
    success: Schema.Struct({ ...answer, n: Schema.Int }),
    stream: true
  }).annotate(Worker.Concurrent, true),
  /** Meets the other ranks of the same call in a collective, and answers which call each was in. */
  Rpc.make("meet", {
    payload: { call: Schema.Int },
    success: Schema.Struct({ ...answer, met: Schema.Array(Schema.Int) }),
    error: CollectiveAborted
  }),
  /** Keeps the event loop for so long, computing or asleep. */
  Rpc.make("block", { payload: { call: Schema.Int, millis: Schema.Int, spins: Schema.Boolean }, success: Answer }),
  /** Lets the event loop go for one turn only now and then, so that the worker hardly reads. */
  Rpc.make("dawdle", { payload: { call: Schema.Int, millis: Schema.Int, nap: Schema.Int }, success: Answer })
) {}
