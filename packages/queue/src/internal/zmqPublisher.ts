import type { Handle, MessageQueues, Packed, Publisher } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import { randomBytes } from "node:crypto"
import { pack, unpack } from "./codec.ts"
import * as Files from "./files.ts"
import * as Hub from "./zmqHub.ts"
import type { Link } from "./zmqLink.ts"
import type { Resolved } from "./zmqSocket.ts"

interface Body extends Packed {
  readonly body: Uint8Array
}

/** How long the goodbye may take after everything else has arrived. */
const goodbyeMillis = 100

interface Rank {
  readonly requestsName: string
  readonly controlName: string
  readonly requests: Link
  readonly control: Link
}

const drainMillis = 3

/** The driver's end: one hub, two lanes a rank, so that ZeroMQ queues control frames apart from requests on the whole way. */
export const open = (resolved: Resolved, refused: () => void): MessageQueues["Service"]["open"] =>
  Effect.fnUntraced(function*(options) {
    // Closed last: whatever killed workers have left behind.
    if (resolved.kind === "ipc") yield* Files.sweepAtEnd(Files.temporary(), Files.socketsPrefix(options.secret), options.replaced)
    const hub = yield* Hub.make(resolved, options.secret, refused, options.replaced)
    const ranks = new Map<number, Rank>()
    /** How many frames have come from each rank. */
    const heard = new Uint32Array(options.ranks)

    const close = (rank: number, reason: string): void => {
      const lanes = ranks.get(rank)
      if (lanes === undefined) return
      ranks.delete(rank)
      hub.remove(lanes.controlName, reason)
      hub.remove(lanes.requestsName, reason)
    }

    const connect = (rank: number, incarnation: number): Handle => {
      close(rank, `replaced by incarnation ${incarnation}`)
      const requestsName = randomBytes(16).toString("hex")
      const controlName = randomBytes(16).toString("hex")
      const lost = (issue: string): void => {
        if (ranks.get(rank)?.requestsName !== requestsName) return
        close(rank, issue)
        options.lost(rank, issue)
      }
      const stale = (): void => options.fenced?.(rank)
      const deliver = (payload: Buffer): void => {
        heard[rank]!++
        let frame
        try {
          frame = unpack(payload)
        } catch (cause) {
          refused()
          return lost(`bytes that are not a frame: ${String(cause)}`)
        }
        options.receive(rank, frame)
      }
      ranks.set(rank, {
        requestsName,
        controlName,
        requests: hub.add(requestsName, { deliver, lost, closed: lost, stale }),
        control: hub.add(controlName, { deliver, lost, closed: lost, stale })
      })
      return {
        transport: resolved.kind,
        data: { address: hub.address, serverKey: hub.serverKey, requests: requestsName, control: controlName }
      }
    }

    yield* Effect.addFinalizer(() => {
      if (options.replaced?.() === true) return Effect.void
      const lanes = [...ranks.values()]
      const requests = lanes.map((lane) => lane.requests)
      // The goodbye goes where the last frames went, and after the control frames.
      return Hub.flush([...requests, ...lanes.map((lane) => lane.control)], resolved.flushMillis, "not connected").pipe(
        Effect.andThen(Hub.finish(requests, "the driver has closed the queue", goodbyeMillis, "not connected"))
      )
    })

    const sent = { frames: 0, bytes: 0, controls: 0 }
    const publisher: Publisher = {
      transport: resolved.kind,
      pack: (frame): Body => {
        const body = pack(frame)
        return { bytes: body.length, body }
      },
      unpack: (packed) => unpack((packed as Body).body),
      publish: (packed, to) => {
        const { body } = packed as Body
        sent.frames++
        sent.bytes += body.length
        for (const rank of to) ranks.get(rank)?.requests.send(body)
      },
      control: (rank, frame) => {
        sent.controls++
        ranks.get(rank)?.control.send(pack(frame))
      },
      connect: (rank, incarnation) => Effect.sync(() => connect(rank, incarnation)),
      // What had reached this machine's sockets takes a turn or two to come up through ZeroMQ; nothing tells when the last of it has. This process may have been held up itself
      // until the time is over, so turns are counted from then on in which nothing has come.
      drain: (rank) =>
        Effect.callback<void>((resume) => {
          let turn: NodeJS.Immediate | undefined
          const look = (before?: number): void => {
            turn = setImmediate(() => heard[rank] === before ? resume(Effect.void) : look(heard[rank]))
          }
          const timer = setTimeout(look, drainMillis)
          return Effect.sync(() => {
            clearTimeout(timer)
            clearImmediate(turn)
          })
        }),
      disconnect: (rank) => close(rank, "the driver has disconnected this rank"),
      stats: () => ({ ...sent })
    }
    return publisher
  })
