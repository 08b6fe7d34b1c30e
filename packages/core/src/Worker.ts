/**
 * The process (or fiber) that runs one rank: who it is, and which handlers it serves. A worker module exports a `Worker` as its default: a value,
 * so that nothing starts by being imported and the same module runs in memory, as a process, or on another machine.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type * as Cluster from "./Cluster.ts"
import type { Collectives } from "./Collectives.ts"
import { Self } from "./internal/self.ts"
import * as serve from "./internal/serve.ts"
import * as Mesh from "./Mesh.ts"
import type { MessageQueues } from "./MessageQueues.ts"
import type { QueueError } from "./QueueError.ts"
import type { SpawnError } from "./WorkerError.ts"

export { Concurrent, Self } from "./internal/self.ts"

/** This actor's coordinates, typed by the dimensions that driver and worker share; dies if the group has other dimensions. */
export const coordinates = <D extends string>(
  ...dims: ReadonlyArray<D>
): Effect.Effect<Mesh.Coordinates<D>, never, Self> =>
  Effect.map(Self, ({ mesh, rank }) => {
    const actual = Object.keys(mesh.shape)
    if (actual.length !== dims.length || dims.some((d) => !actual.includes(d))) {
      throw new Error(`this group's dimensions are ${actual.join(", ")}, not ${dims.join(", ")}`)
    }
    return Mesh.place(mesh, rank).coordinates as Mesh.Coordinates<D>
  })

/** A protocol with the handlers that serve it. */
export interface Worker<P extends RpcGroup.Any, out E = never> {
  readonly protocol: P
  readonly layer: Layer.Layer<Provided<P>, E, Self | Collectives>
}

/** What a worker's layer must provide for protocol `P`: its handlers and its server middleware. */
export type Provided<P> = Rpc.ToHandler<RpcGroup.Rpcs<P>> | Rpc.Middleware<RpcGroup.Rpcs<P>>

/** Joins a protocol to the layer of its handlers. The layer is built anew for each incarnation; its failure is the start's `SpawnError`. */
export const make = <P extends RpcGroup.Any, E = never>(
  protocol: P,
  layer: Layer.Layer<Provided<P>, E, Self | Collectives>
): Worker<P, E> => ({ protocol, layer })

/**
 * Runs a worker until its driver is lost: attaches to the driver's queues, loads the entry, builds its layer, says that it is ready, serves. For those who write
 * a `Cluster`: their bootstrap calls this with the identity that `spawn` was given. What goes wrong in the entry is told to the driver before it fails here.
 */
export const run: (
  entry: Cluster.Entry<any>,
  identity: Cluster.Identity,
  node: string
) => Effect.Effect<void, SpawnError | QueueError, MessageQueues> = serve.run
