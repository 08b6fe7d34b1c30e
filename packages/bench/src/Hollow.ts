/**
 * A group without workers: its queues answer each request themselves, in the next turn of the microtasks, so that what is measured is the driver alone. The frames are those of
 * `packages/queue/WIRE.md`.
 */
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import { type Frame, MessageQueues, type Packed } from "@phalanx/core/MessageQueues"
import type { Supervision } from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import { Echo } from "./workers/Echo.ts"

interface Kept extends Packed {
  readonly frame: Frame
}

const [ready, success] = [16, 18]

/** What a frame bears of the secret: see WIRE.md of `@phalanx/queue`. */
const mark = (secret: string): number => Number.parseInt(secret.slice(0, 12), 16)

const queues = MessageQueues.of({
  open: ({ receive, secret }) =>
    Effect.succeed({
      transport: "hollow",
      pack: (frame): Kept => ({ frame, bytes: 64 }),
      unpack: (packed) => (packed as Kept).frame,
      publish: (packed, ranks) => {
        const [, secretMark, epoch, life, id] = (packed as Kept).frame
        queueMicrotask(() => {
          for (const rank of ranks) receive(rank, [success, secretMark, epoch, rank, life, id, 1])
        })
      },
      control: () => {},
      connect: (rank, incarnation) =>
        Effect.sync(() => {
          queueMicrotask(() => receive(rank, [ready, mark(secret), 0, rank, incarnation]))
          return { transport: "hollow", data: null }
        }),
      drain: () => Effect.void,
      disconnect: () => {}
    }),
  attach: () => Effect.die("nobody attaches"),
  peers: () => Effect.die("nobody has peers")
})

const cluster = Cluster.Cluster.of({
  spawn: () => Effect.succeed({ node: "hollow", pid: undefined, end: Effect.never, stderr: Effect.succeed([]), kill: () => Effect.void })
})

/** A group of so many ranks that are not there. */
export const start = (ranks: number, supervision: Supervision<"dp">) =>
  WorkerGroup.make(Echo, { mesh: Mesh.make({ dp: ranks }), entry: new URL("file:///nobody"), supervision }).pipe(
    Effect.provideService(Cluster.Cluster, cluster),
    Effect.provideService(MessageQueues, queues)
  )
