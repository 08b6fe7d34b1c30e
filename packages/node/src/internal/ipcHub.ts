/**
 * The driver's end of queues over Node's own ipc channels: slower than shared memory and TCP, but nothing beyond Node is needed.
 * What ranks send each other goes through the driver.
 */
import type { Frame, MessageQueues, Packed, PublisherOptions } from "@phalanx/core/MessageQueues"
import { QueueError } from "@phalanx/core/QueueError"
import * as Effect from "effect/Effect"
import type { ChildProcess } from "node:child_process"
import { serialize } from "node:v8"
import type * as ipc from "./ipcMessage.ts"
import { frameOf, isFlush, isPeer } from "./ipcMessage.ts"

type ToWorker = ipc.FrameMessage | ipc.PeerMessage | ipc.ClosedMessage

class IpcPacked implements Packed {
  readonly data: Uint8Array
  constructor(frame: Frame) {
    this.data = serialize(frame)
  }
  get bytes(): number {
    return this.data.length
  }
}

/** One incarnation of one rank. */
interface Line {
  readonly name: string
  readonly rank: number
  readonly options: PublisherOptions
  child: ChildProcess | undefined
  /** Sent before the process was there. */
  early: Array<ToWorker>
}

// A channel that broke is told by the process's end; without a callback it would be thrown here as well.
const ignore = (): void => {}

export interface Hub {
  readonly queues: MessageQueues["Service"]
  /** Joins the process that was started for a handle to its line. */
  readonly bind: (handle: { readonly data: unknown }, child: ChildProcess) => void
}

export const make = (): Hub => {
  const lines = new Map<string, Line>()
  let count = 0

  const send = (line: Line | undefined, message: ToWorker): void => {
    if (line === undefined) return
    if (line.child === undefined) line.early.push(message)
    else if (line.child.connected) line.child.send(message, ignore)
  }
  const close = (line: Line, issue: string): void => {
    if (lines.delete(line.name)) send(line, { lane: "closed", issue })
  }
  const hear = (line: Line, message: unknown): void => {
    if (!lines.has(line.name) || isFlush(message)) return
    if (isPeer(message)) return send(lines.get(message.line), message)
    const frame = frameOf(message)
    if (frame !== undefined) return line.options.receive(line.rank, frame)
    close(line, "it sent bytes that are not a frame")
    line.options.lost(line.rank, "it sent bytes that are not a frame")
  }

  return {
    bind: (handle, child) => {
      const line = lines.get(String(handle.data))
      if (line === undefined) return
      line.child = child
      child.on("message", (message) => hear(line, message))
      for (const message of line.early.splice(0)) send(line, message)
    },
    queues: {
      open: (options) =>
        Effect.map(
          Effect.acquireRelease(
            Effect.sync(() => new Map<number, Line>()),
            (ranks) => Effect.sync(() => ranks.forEach((line) => close(line, "the driver closed its queues")))
          ),
          (ranks) => ({
            transport: "ipc",
            pack: (frame) => new IpcPacked(frame),
            publish: (packed, to) => {
              const message: ToWorker = { lane: "frame", bytes: (packed as IpcPacked).data }
              for (const rank of to) send(ranks.get(rank), message)
            },
            control: (rank, frame) => send(ranks.get(rank), { lane: "frame", bytes: new IpcPacked(frame).data }),
            connect: (rank, incarnation) =>
              Effect.sync(() => {
                const former = ranks.get(rank)
                if (former !== undefined) close(former, `replaced by incarnation ${incarnation}`)
                const line: Line = {
                  name: `${options.group}-${rank}-${incarnation}-${count++}`,
                  rank,
                  options,
                  child: undefined,
                  early: []
                }
                ranks.set(rank, line)
                lines.set(line.name, line)
                return { transport: "ipc", data: line.name }
              }),
            disconnect: (rank) => {
              const line = ranks.get(rank)
              if (line === undefined) return
              ranks.delete(rank)
              close(line, "the driver gave this rank up")
            }
          })
        ),
      attach: () => Effect.fail(elsewhere),
      peers: () => Effect.fail(elsewhere)
    }
  }
}

const elsewhere = new QueueError({
  operation: "attach to",
  where: "an ipc channel",
  issue: "this process is the driver",
  advice: "Only the worker processes of the same cluster have an ipc channel to it"
})
