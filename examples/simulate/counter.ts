import * as Worker from "@phalanx/core/Worker"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import { Effect, Schema } from "effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"

/** Every rank counts for itself. */
export class Counter extends RpcGroup.make(
  Rpc.make("add", { payload: { id: Schema.Int, n: Schema.Int }, success: Schema.Int })
) {}

/** A worker that writes its total down where the simulation can see it, and may remember what it has added. */
export const counter = (totals: Map<number, number>, remembers: boolean) =>
  Worker.make(
    Counter,
    Counter.toLayer(Effect.gen(function*() {
      const { rank } = yield* Worker.Self
      const added = new Set<number>()
      totals.set(rank, 0)
      return Counter.of({
        add: ({ id, n }) =>
          Effect.sync(() => {
            const total = totals.get(rank)! + (added.has(id) ? 0 : n)
            if (remembers) added.add(id)
            totals.set(rank, total)
            return total
          })
      })
    }))
  )

/** Whoever is not answered in time asks again. */
export const add = (actor: WorkerGroup.Actor<typeof Counter>, id: number, n: number) =>
  actor.call.add({ id, n }, { timeout: "20 millis" }).pipe(
    Effect.retry({ while: ({ reason }) => reason._tag === "CallTimeout" })
  )
