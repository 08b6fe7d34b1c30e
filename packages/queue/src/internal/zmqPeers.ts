import type { Handle, MessageQueues, PeerLanes, Peers } from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"
import { createHash, createHmac, randomBytes } from "node:crypto"
import * as Wire from "./zmqHandle.ts"
import * as Hub from "./zmqHub.ts"
import type { Link } from "./zmqLink.ts"
import type { Resolved } from "./zmqSocket.ts"
import * as Spoke from "./zmqSpoke.ts"

/** Channel and sequence, 32 bits each, little-endian, before the bytes. */
const prefixBytes = 8
/** Smaller payloads share memory with other messages when they arrive, and are copied out of it. */
const sharedBytes = 4096

/**
 * A rank's end of the lanes between ranks: one hub, and one lane in both directions with each other rank, on the hub of the lower of the
 * two. Identities are derived from the group's secret and the ids of every rank of a generation, so each generation has its own.
 */
export const peers = (resolved: Resolved, refused: () => void): MessageQueues["Service"]["peers"] =>
  Effect.fnUntraced(function*(options) {
    const hub = yield* Hub.make(resolved, options.secret, refused)
    const handle: Handle = {
      transport: resolved.kind,
      data: { address: hub.address, serverKey: hub.serverKey, id: randomBytes(16).toString("hex") }
    }

    const deliver = (from: number, payload: Buffer): void => {
      const bytes = payload.length > sharedBytes
        ? new Uint8Array(payload.buffer, payload.byteOffset + prefixBytes, payload.length - prefixBytes)
        : Uint8Array.prototype.slice.call(payload, prefixBytes)
      options.receive(from, payload.readUInt32LE(0), payload.readUInt32LE(4), bytes)
    }

    const connect: Peers["connect"] = Effect.fnUntraced(function*(handles, to) {
      const others = yield* Effect.forEach(handles, (other, rank) => Wire.decode(Wire.Peer, rank === options.rank ? handle : other))
      const generation = createHash("sha256").update(others.map((other) => other.id).join(" ")).digest("hex")
      const identity = (low: number, high: number): string =>
        createHmac("sha256", options.secret).update(`${options.group} ${generation} ${low} ${high}`).digest("hex").slice(0, 32)
      const left = `rank ${options.rank} has left this generation`
      const links = new Map<number, Link>()
      const gone = new Map<number, string>()

      for (const [rank, place] of others.entries()) {
        if (rank === options.rank || to?.has(rank) === false) continue
        // Ranks leave a generation one after the other: no news until something is meant for one that has left.
        const closed = (reason: string) => gone.set(rank, reason)
        const lost = (issue: string): void => {
          closed(issue)
          options.lost(rank, issue)
        }
        const lane = {
          lost,
          closed,
          deliver: (payload: Buffer): void => {
            if (payload.length >= prefixBytes) return deliver(rank, payload)
            refused()
            const issue = `a message of ${payload.length} bytes`
            links.get(rank)?.close(issue)
            lost(issue)
          }
        }
        if (rank < options.rank) {
          links.set(
            rank,
            yield* Spoke.make(resolved, { ...lane, place, identity: identity(rank, options.rank), ready: () => {} })
          )
        } else {
          const name = identity(options.rank, rank)
          links.set(rank, hub.add(name, lane))
          yield* Effect.addFinalizer(() => Effect.sync(() => hub.remove(name, left)))
        }
      }
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          Hub.finish([...links.values()], left, resolved.flushMillis, "lost"),
          Effect.sync(() => {
            for (const link of links.values()) link.close(left)
          })
        )
      )

      const send: PeerLanes["send"] = (to, channel, sequence, bytes) => {
        const issue = gone.get(to)
        if (issue !== undefined) return options.lost(to, issue)
        const payload = Buffer.allocUnsafe(prefixBytes + bytes.length)
        payload.writeUInt32LE(channel, 0)
        payload.writeUInt32LE(sequence, 4)
        payload.set(bytes, prefixBytes)
        links.get(to)?.send(payload)
      }
      return { send }
    })
    return { handle, connect }
  })
