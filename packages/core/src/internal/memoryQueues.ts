import * as Effect from "effect/Effect"
import type { Frame, Handle, MessageQueues, Packed, PeersOptions } from "../MessageQueues.ts"
import { QueueError } from "../QueueError.ts"

export interface Copied extends Packed {
  readonly frame: Frame
}

/** Copies plain data, as a wire would, so that nobody sees another's later changes; counts its bytes on the way. */
export const copy = (frame: Frame): Copied => {
  let bytes = 0
  const go = (value: unknown): unknown => {
    bytes += 8
    if (value === null || value === undefined || typeof value === "number" || typeof value === "boolean") return value
    if (typeof value === "string") {
      bytes += value.length
      return value
    }
    if (value instanceof Uint8Array) {
      bytes += value.length
      return value.slice()
    }
    if (Array.isArray(value)) return value.map(go)
    if (typeof value === "object") {
      const record: Record<string, unknown> = {}
      for (const [key, field] of Object.entries(value)) record[key] = go(field)
      return record
    }
    throw new TypeError(`a ${typeof value} is not plain data`)
  }
  return { frame: go(frame) as Frame, bytes }
}

/** Delivers in order, each on a later turn, from when somebody reads it until it is closed. */
const makeMailbox = (isRead: boolean) => {
  let waiting: Array<() => void> = []
  let open = true
  const run = () => {
    const now = waiting
    waiting = []
    for (const deliver of now) if (open) deliver()
  }
  return {
    /** Whether it is open still. */
    post: (deliver: () => void): boolean => {
      if (!open) return false
      waiting.push(deliver)
      if (isRead && waiting.length === 1) queueMicrotask(run)
      return true
    },
    read: (): void => {
      isRead = true
      if (waiting.length > 0) queueMicrotask(run)
    },
    close: (): void => {
      open = false
      waiting = []
    }
  }
}
type Mailbox = ReturnType<typeof makeMailbox>

interface Line {
  /** Both directions: what the rank hears and what the driver hears from it. */
  readonly down: Mailbox
  readonly up: Mailbox
  readonly receive: (frame: Frame) => void
  readonly fenced: () => void
  /** None before the worker has attached. */
  toWorker: ((frame: Frame) => void) | undefined
  replaced: ((issue: string) => void) | undefined
}

/** Every rank of every group that this layer has opened, by the name in its handle. */
export const make = (): MessageQueues["Service"] => {
  const lines = new Map<string, Line>()
  const peers = new Map<string, PeersOptions>()
  let names = 0

  const missing = (handle: Handle) =>
    new QueueError({
      operation: "attach to",
      where: `${handle.transport} ${JSON.stringify(handle.data)}`,
      issue: "no such queue in this process",
      advice: "Attach in the process and with the layer that opened it"
    })

  return {
    open: (options) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const ranks = new Map<number, { readonly name: string; readonly line: Line }>()
          const close = (rank: number, issue?: string): void => {
            const entry = ranks.get(rank)
            if (entry === undefined) return
            ranks.delete(rank)
            lines.delete(entry.name)
            entry.line.down.close()
            entry.line.up.close()
            if (issue !== undefined) entry.line.replaced?.(issue)
          }
          const send = (rank: number, frame: Frame): void => {
            const line = ranks.get(rank)?.line
            if (line === undefined) return
            line.down.post(() => line.toWorker?.(frame))
          }
          const publisher = {
            transport: "memory",
            pack: copy,
            unpack: (packed: Packed) => (packed as Copied).frame,
            publish: (packed: Packed, to: ReadonlyArray<number>) => {
              for (const rank of to) send(rank, copy((packed as Copied).frame).frame)
            },
            control: (rank: number, frame: Frame) => send(rank, frame),
            connect: (rank: number, incarnation: number) =>
              Effect.sync((): Handle => {
                close(rank, `replaced by incarnation ${incarnation}`)
                const name = `${options.group}-${rank}-${incarnation}-${names++}`
                const line: Line = {
                  down: makeMailbox(false),
                  up: makeMailbox(true),
                  receive: (frame) => options.receive(rank, frame),
                  fenced: () => options.fenced?.(rank),
                  toWorker: undefined,
                  replaced: undefined
                }
                lines.set(name, line)
                ranks.set(rank, { name, line })
                return { transport: "memory", data: name }
              }),
            drain: (rank: number) =>
              Effect.callback<void>((resume) => {
                const line = ranks.get(rank)?.line
                if (line?.up.post(() => resume(Effect.void)) !== true) resume(Effect.void)
              }),
            disconnect: (rank: number) => close(rank)
          }
          return { publisher, close: () => [...ranks.keys()].forEach((rank) => close(rank)) }
        }),
        ({ close }) => Effect.sync(close)
      ).pipe(Effect.map((_) => _.publisher)),

    attach: (handle, options) =>
      Effect.suspend(() => {
        const line = lines.get(String(handle.data))
        if (line === undefined) return Effect.fail(missing(handle))
        line.toWorker = options.receive
        line.replaced = options.lost
        line.down.read()
        return Effect.as(
          Effect.addFinalizer(() => Effect.sync(() => line.down.close())),
          {
            send: (frame: Frame) => {
              const copied = copy(frame).frame
              if (!line.up.post(() => line.receive(copied))) line.fenced()
            },
            flush: Effect.void
          }
        )
      }),

    peers: (options) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const name = `${options.group}-peer-${options.rank}-${names++}`
          peers.set(name, options)
          return { name, mailbox: makeMailbox(true) }
        }),
        ({ mailbox, name }) =>
          Effect.sync(() => {
            peers.delete(name)
            mailbox.close()
          })
      ).pipe(Effect.map(({ mailbox, name }) => ({
        handle: { transport: "memory", data: name },
        connect: (handles) =>
          Effect.succeed({
            send: (to, channel, sequence, bytes) => {
              const copied = bytes.slice()
              mailbox.post(() => peers.get(String(handles[to]?.data))?.receive(options.rank, channel, sequence, copied))
            }
          })
      })))
  }
}
