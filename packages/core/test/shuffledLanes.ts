import * as MessageQueues from "@phalanx/core/MessageQueues"
import * as Effect from "effect/Effect"

/** Numbers from 0 to 1, the same for a seed. */
export const seeded = (seed: number) => (): number => {
  seed = seed + 0x6d2b79f5 | 0
  let value = Math.imul(seed ^ seed >>> 15, 1 | seed)
  value = value + Math.imul(value ^ value >>> 7, 61 | value) ^ value
  return ((value ^ value >>> 14) >>> 0) / 0x100000000
}

/**
 * Lanes between the ranks of one process that are in order each, but deliver against each other as the seed says: a few messages a
 * turn of the event loop, from any lane that has some. Every message begins at an odd offset.
 */
export const make = (seed: number) => {
  const random = seeded(seed)
  const ranks = new Map<number, MessageQueues.PeersOptions>()
  const lanes = new Map<string, Array<() => void>>()
  let opened = 0
  let latest = { channel: 0, sequence: 0 }
  let running = false

  const turn = (): void => {
    for (let count = Math.ceil(random() * 4); count > 0; count--) {
      const busy = [...lanes.values()].filter((lane) => lane.length > 0)
      if (busy.length === 0) {
        running = false
        return
      }
      busy[Math.floor(random() * busy.length)]!.shift()!()
    }
    setImmediate(turn)
  }

  const send = (from: number, to: number, channel: number, sequence: number, bytes: Uint8Array): void => {
    latest = { channel, sequence }
    const odd = new Uint8Array(bytes.length + 1).subarray(1)
    odd.set(bytes)
    const name = `${from} to ${to}`
    const lane = lanes.get(name) ?? []
    lanes.set(name, lane)
    lane.push(() => ranks.get(to)?.receive(from, channel, sequence, odd))
    if (running) return
    running = true
    setImmediate(turn)
  }

  return {
    queues: MessageQueues.MessageQueues.of({
      open: () => Effect.die("there are only lanes between ranks"),
      attach: () => Effect.die("there are only lanes between ranks"),
      peers: (options) =>
        Effect.sync(() => {
          opened++
          ranks.set(options.rank, options)
          return {
            handle: { transport: "shuffled", data: options.rank },
            connect: () => Effect.succeed({ send: (to, channel, sequence, bytes) => send(options.rank, to, channel, sequence, bytes) })
          }
        })
    }),
    /** How often the lanes of a rank were opened. */
    opened: () => opened,
    /** What the message sent last was marked with. */
    latest: () => latest,
    /** Hands a message to a rank as if `from` had sent it. */
    inject: (from: number, to: number, channel: number, sequence: number, bytes: Uint8Array) =>
      ranks.get(to)!.receive(from, channel, sequence, bytes),
    /** Tells a rank that its lane from another is gone. */
    lose: (from: number, to: number, issue: string) => ranks.get(to)!.lost(from, issue),
    /** Resolves when everything sent has been delivered. */
    delivered: Effect.callback<void>((resume) => {
      const look = (): void => {
        if (running) setImmediate(look)
        else resume(Effect.void)
      }
      look()
    })
  }
}
