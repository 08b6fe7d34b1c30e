/** @effect-diagnostics missingEffectError:off missingEffectContext:off */
// Each line below an expectation must not compile: `check` fails when one of them does.
import * as Mesh from "@phalanx/core/Mesh"
import * as Worker from "@phalanx/core/Worker"
import type { CallError, Lost } from "@phalanx/core/WorkerError"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}
class Adder extends RpcGroup.make(
  Rpc.make("add", { payload: { n: Schema.Int }, success: Schema.Int }),
  Rpc.make("refuse", { error: Refused }),
  Rpc.make("count", { payload: { to: Schema.Int }, success: Schema.Int, stream: true })
) {}
class Other extends RpcGroup.make(Rpc.make("other", { success: Schema.String })) {}
declare const adders: Layer.Layer<Worker.Provided<typeof Adder>>
declare const others: Layer.Layer<Worker.Provided<typeof Other>>

const mesh = Mesh.make({ dp: 2, tp: 2 })
const entry = Worker.make(Adder, adders)

export const program = Effect.gen(function*() {
  const group = yield* WorkerGroup.make(Adder, { mesh, entry })
  const totals: ReadonlyArray<number> = yield* group.call.add({ n: 1 })
  const one: number = yield* group.call.add({ n: 1 }, { replyFrom: { dp: 0, tp: 1 } })

  // @ts-expect-error an unknown dimension
  group.slice({ pp: 1 })
  const selector = { dp: 0, pp: 1 }
  // @ts-expect-error an unknown dimension, in a variable
  group.slice(selector)
  // @ts-expect-error a dimension that an earlier slice has removed
  group.slice({ dp: 1 }).slice({ dp: 0 })
  // @ts-expect-error not all coordinates
  group.at({ dp: 1 })
  // @ts-expect-error an unknown method
  group.call.subtract({ n: 1 })
  // @ts-expect-error a streaming method has no single reply
  group.call.count({ to: 3 })
  // @ts-expect-error a wrong payload
  group.call.add({ n: "1" })
  // @ts-expect-error no payload
  group.call.add()
  // @ts-expect-error a wrong payload of one rank
  group.call.add(({ rank }) => ({ m: rank }))
  // @ts-expect-error a reply from a place that is none
  group.call.add({ n: 1 }, { replyFrom: { dp: 0, xp: 1 } })

  return { totals, one }
})

export const errors = Effect.gen(function*() {
  const group = yield* WorkerGroup.make(Adder, { mesh, entry })
  yield* group.call.refuse()
})
// @ts-expect-error the method's error and what can lose a reply are not handled
export const unhandled: Effect.Effect<void, never, any> = errors
export const reason = (error: CallError<Refused>): Refused | Lost => error.reason
// @ts-expect-error a misspelt reason
export const misspelt = errors.pipe(Effect.catchReason("CallError", "Refusd", () => Effect.void))

// @ts-expect-error a worker of another protocol
export const foreign = WorkerGroup.make(Adder, { mesh, entry: Worker.make(Other, others) })
// @ts-expect-error no cluster is provided
export const homeless: Effect.Effect<unknown, any, never> = Effect.scoped(program)
