/** What the benches of deaths have in common: a group whose ranks are started again, and the news of them. */
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import type { WorkerDied } from "@phalanx/core/WorkerError"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import process from "node:process"
import type * as Depth from "./Depth.ts"
import { SystemFailed } from "./Driver.ts"
import { Mortal } from "./workers/Mortal.ts"

/** A group of ranks to be lost. */
export type Group = WorkerGroup.WorkerGroup<typeof Mortal, "rank">

/** Starts a group on whatever cluster there is. However many ranks die one after the other, each is started again at once. */
export const group = (ranks: number, heartbeat?: WorkerGroup.Heartbeat | undefined) =>
  WorkerGroup.make(Mortal, {
    mesh: Mesh.make({ rank: ranks }),
    entry: new URL("./workers/mortalWorker.ts", import.meta.url),
    name: "bench",
    supervision: Supervision.restart({ max: 1000, per: "1 milli" }),
    heartbeat
  })

/** Starts one on this machine's processes, which may be a keeper's. */
export const start = (
  ranks: number,
  { heartbeat, keeper = false }: { readonly heartbeat?: WorkerGroup.Heartbeat | undefined; readonly keeper?: boolean } = {}
) => group(ranks, heartbeat).pipe(Effect.provide(keeper ? NodeCluster.layerWith({ keeper: {} }) : NodeCluster.layer))

/** A signal to one rank's process, and the death that the call in flight to it tells. */
export interface Struck {
  readonly died: WorkerDied
  /** Milliseconds from the signal until the call had failed. */
  readonly millis: number
  /** When that was, as of `performance.now()`. */
  readonly at: number
}

/** Sends a signal to a rank that has a call in flight, or to what it depends on; resolves when the call has failed with that rank's death. */
export const strike = Effect.fnUntraced(
  function*(
    group: Group,
    rank: number,
    signal: NodeJS.Signals,
    victim: (worker: number) => number = (worker) => worker
  ): Effect.fn.Return<Struck, SystemFailed> {
    const call = yield* Effect.forkChild(
      Effect.map(Effect.flip(group.at(rank).call.hold()), (error) => ({ error, at: performance.now() })),
      {
        startImmediately: true
      }
    )
    // Its rank has the call when it has answered the one after it.
    yield* Effect.mapError(group.at(rank).call.hello({ n: 0 }), failed)
    const pid = victim(group.workers[rank]!.pid!)
    const start = performance.now()
    process.kill(pid, signal)
    const { at, error: { reason } } = yield* Effect.mapError(Fiber.join(call), failed)
    if (reason._tag !== "WorkerDied") return yield* new SystemFailed({ system: "phalanx", issue: `a call ended in ${reason._tag}` })
    return { died: reason, millis: at - start, at }
  }
)

/** Whatever went wrong, as the bench's failure. */
export const failed = (cause: unknown): SystemFailed =>
  new SystemFailed({ system: "phalanx", issue: cause instanceof Error ? cause.message : String(cause) })

/** How many deaths a row of a depth is made of. */
export const deaths = (depth: Depth.Depth): number => ({ smoke: 1, quick: 20, full: 100 })[depth.name]
