/**
 * `MessageQueues` between simulated processes. It promises what every transport does (MQ-1 … MQ-4) and nothing more: each lane keeps its order, each message
 * takes a time of its own, and lanes know nothing of each other.
 */
import * as Effect from "effect/Effect"
import type { Frame, Handle, MessageQueues, Packed, PeersOptions, PublisherOptions, SubscriberOptions } from "../../MessageQueues.ts"
import { QueueError } from "../../QueueError.ts"
import type { Inbox, Process } from "../../testing/World.ts"
import { type Copied, copy } from "../memoryQueues.ts"
import { Lane } from "./lane.ts"
import { type Actor, type Stage, tell } from "./stage.ts"
import * as watch from "./watch.ts"

/** The lanes between the driver and one life of one member. */
export interface Line {
  readonly name: string
  readonly hub: Hub
  readonly member: number
  readonly incarnation: number
  readonly requests: Lane
  readonly control: Lane
  readonly replies: Lane
  readonly seen: watch.Seen
  actor: Actor | undefined
  subscriber: SubscriberOptions | undefined
  inbox: Inbox | undefined
  /** The other end goes on sending although it was replaced. */
  astray: boolean
  /** What comes from it then is handed over and left to the fence; else the transport itself keeps it out and says so. */
  readonly leaks: boolean
  closed: boolean
  /** Answers arrive twice until then. */
  doublesUntil: number
}

/** One group's queues. */
export interface Hub {
  readonly act: number
  readonly options: PublisherOptions
  readonly driver: Inbox
  readonly lines: Map<number, Line>
  /** What some workers had said in lives that are over, newest last. */
  readonly past: Array<{ readonly member: number; readonly frame: Frame }>
  /** The newest request of each member. */
  readonly newest: Map<number, number>
}

interface Peer {
  readonly member: number
  readonly options: PeersOptions
  readonly process: Process
  readonly inbox: Inbox
}

export interface Network {
  readonly queues: MessageQueues["Service"]
  readonly hub: () => Hub | undefined
  readonly line: (handle: Handle) => Line | undefined
  /** The lanes between two members, both ways. */
  readonly between: (a: number, b: number) => ReadonlyArray<Lane>
  /** The driver's connection to a member is lost for good. `told`: the member knows it, too. */
  readonly lose: (line: Line, issue: string, told: boolean) => void
  /** The lanes between two members are broken for good. */
  readonly part: (a: number, b: number, issue: string) => void
  /** Writes down who belongs to the group. */
  readonly record: () => void
  /** The driver is gone: of what it had sent the last may be lost, and workers learn of it sooner or later, or not. */
  readonly fall: () => void
  /** Hands the driver a frame as if it had just come from a member. `stale`: its fence is of another life or group. */
  readonly inject: (member: number, frame: Frame, stale: boolean) => void
}

export const make = (stage: Stage): Network => {
  const { world } = stage
  const lines = new Map<string, Line>()
  /** Also those that are closed: a process may be made for a member that was given up a moment before, and finds nobody. */
  const made = new Map<string, Line>()
  const peers = new Map<string, Peer>()
  const lanes = new Map<string, { readonly lane: Lane; readonly to: Peer; readonly from: number }>()
  let hub: Hub | undefined
  let names = 0
  const scale = world.draw.pick([0.05, 0.2, 1])
  const latency = () => scale * (0.1 + world.draw.below(1000) / 500)
  const lane = () => new Lane(world, latency)

  const close = (line: Line, issue?: string): void => {
    if (line.hub.lines.get(line.member) === line) line.hub.lines.delete(line.member)
    lines.delete(line.name)
    line.closed = true
    for (const frame of line.seen.last) line.hub.past.push({ member: line.member, frame })
    line.hub.past.splice(0, line.hub.past.length - 8)
    line.requests.close()
    line.control.close()
    if (!line.astray) line.replies.close()
    if (issue !== undefined && !line.astray) inform(line, issue)
  }
  /** The member's end learns, after a while, that nobody listens to it. */
  const inform = (line: Line, issue: string): void => world.after(latency(), () => line.inbox?.post(() => line.subscriber?.lost(issue)))

  const hear = (line: Line, frame: Frame): void => {
    const { act, lines, options } = line.hub
    if (act !== stage.acts - 1) return
    if (line.closed && !line.leaks) {
      stage.stale++
      tell(stage, () => `member ${line.member}.${line.incarnation} speaks on a closed lane`)
      return options.fenced?.(line.member)
    }
    watch.heard(stage, line, frame, lines.get(line.member) === line)
    options.receive(line.member, frame)
  }

  const openHub = (options: PublisherOptions) => {
    const driver = world.current!.inbox()
    if (!stage.adopting) {
      stage.acts++
      stage.record = undefined
    }
    const mine: Hub = { act: stage.acts - 1, options, driver, lines: new Map(), past: [], newest: new Map() }
    hub = mine
    stage.stale = 0
    stage.perhapsStale = 0
    const send = (kind: "requests" | "control", member: number, frame: Frame): void => {
      const line = mine.lines.get(member)
      if (line === undefined) return
      line[kind].send(() => {
        watch.arrived(stage, line, frame)
        line.subscriber!.receive(frame)
      })
    }
    const publisher = {
      transport: "simulated",
      pack: copy,
      unpack: (packed: Packed) => (packed as Copied).frame,
      publish: (packed: Packed, members: ReadonlyArray<number>) => {
        const { bytes, frame } = packed as Copied
        members.forEach((member, index) => {
          watch.published(stage, mine, member, frame, bytes)
          // `pack` has made one copy already.
          send("requests", member, index === 0 ? frame : copy(frame).frame)
        })
      },
      control: (member: number, frame: Frame) => send("control", member, frame),
      connect: (member: number, incarnation: number) =>
        Effect.sync((): Handle => {
          const former = mine.lines.get(member)
          if (former !== undefined) close(former, `replaced by incarnation ${incarnation}`)
          const name = `${options.group} ${member}.${incarnation} ${names++}`
          const line: Line = {
            name,
            hub: mine,
            member,
            incarnation,
            requests: lane(),
            control: lane(),
            replies: lane(),
            seen: watch.makeSeen(),
            actor: undefined,
            subscriber: undefined,
            inbox: undefined,
            astray: false,
            leaks: world.draw.chance(0.5),
            closed: false,
            doublesUntil: 0
          }
          line.replies.attach(driver)
          mine.lines.set(member, line)
          lines.set(name, line)
          made.set(name, line)
          return { transport: "simulated", data: name }
        }),
      drain: (member: number, incarnation: number) =>
        Effect.callback<void>((resume) => {
          const line = mine.lines.get(member)
          if (line?.incarnation !== incarnation) return resume(Effect.void)
          line.replies.drain(() => resume(Effect.void))
        }),
      disconnect: (member: number) => {
        const line = mine.lines.get(member)
        if (line === undefined) return
        if (line.actor !== undefined) line.actor.told ??= world.millis
        close(line)
      }
    }
    return {
      publisher,
      close: () => {
        for (const line of mine.lines.values()) close(line, "the group has ended")
        if (hub === mine) hub = undefined
      }
    }
  }

  const queues: MessageQueues["Service"] = {
    open: (options) =>
      Effect.map(
        Effect.acquireRelease(Effect.sync(() => openHub(options)), ({ close }) => Effect.sync(close)),
        ({ publisher }) => publisher
      ),

    attach: (handle, options) =>
      Effect.suspend(() => {
        const line = lines.get(String(handle.data))
        if (line === undefined) {
          return Effect.fail(
            new QueueError({
              operation: "attach to",
              where: String(handle.data),
              issue: "the driver has closed it",
              advice: "Attach while the group lives and before the member is replaced"
            })
          )
        }
        const inbox = world.current!.inbox()
        line.subscriber = options
        line.inbox = inbox
        // Two lanes, two inboxes: neither waits for the other.
        line.requests.attach(inbox)
        line.control.attach(world.current!.inbox())
        return Effect.succeed({
          send: (frame: Frame) => {
            const copied = copy(frame).frame
            watch.said(stage, line, copied)
            line.replies.send(() => hear(line, copied))
            if (watch.isAnswer(copied) && world.millis < line.doublesUntil) {
              tell(stage, () => `the answer of ${line.member} to ${String(copied[5])} is doubled`)
              world.after(world.draw.below(20), () =>
                line.hub.driver.post(() => {
                  // By then the group may be in another epoch.
                  if (line.hub.lines.get(line.member) === line) stage.perhapsStale++
                  hear(line, copied)
                }))
            }
          },
          flush: Effect.void
        })
      }),

    peers: (options) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const name = `${options.group} peer ${options.rank} ${names++}`
          const process = world.current!
          peers.set(name, { member: options.rank, options, process, inbox: process.inbox() })
          return name
        }),
        (name) => Effect.sync(() => peers.delete(name))
      ).pipe(Effect.map((name) => ({
        handle: { transport: "simulated", data: name },
        connect: (handles) =>
          Effect.sync(() => {
            const ways = handles.map((handle) => {
              const to = peers.get(String(handle.data))
              if (to === undefined || to.options === options) return undefined
              const way = lane()
              way.attach(to.inbox)
              lanes.set(`${name} to ${String(handle.data)}`, { lane: way, to, from: options.rank })
              return { lane: way, to }
            })
            return {
              send: (to, channel, sequence, bytes) => {
                const way = ways[to]
                if (way === undefined) return
                const copied = bytes.slice()
                way.lane.send(() => way.to.options.receive(options.rank, channel, sequence, copied))
              }
            }
          })
      })))
  }

  const of = (a: number, b: number) =>
    [...lanes.values()].filter(({ from, to }) => from === a && to.member === b || from === b && to.member === a)

  return {
    queues,
    hub: () => hub,
    line: (handle) => made.get(String(handle.data)),
    between: (a, b) => of(a, b).map(({ lane }) => lane),
    lose: (line, issue, told) => {
      if (line.hub.lines.get(line.member) !== line) return
      if (!told) line.astray = true
      line.requests.close()
      line.control.close()
      if (told) {
        line.replies.close()
        inform(line, issue)
      }
      line.hub.driver.post(() => line.hub.options.lost(line.member, issue))
    },
    part: (a, b, issue) => {
      for (const { from, lane, to } of of(a, b)) {
        lane.close()
        to.inbox.post(() => to.options.lost(from, issue))
      }
    },
    record: () => {
      const snapshot = hub?.options.snapshot?.()
      // One that is being taken over does not know yet.
      if (snapshot !== undefined && snapshot.members.length > 0) stage.record = snapshot
    },
    fall: () => {
      for (const line of hub?.lines.values() ?? []) {
        for (const lane of [line.requests, line.control]) lane.lose(() => world.draw.chance(0.9))
        if (world.draw.chance(0.5)) {
          world.after(latency(), () => line.inbox?.post(() => line.subscriber?.lost("the driver is gone", true)))
        }
      }
      hub = undefined
    },
    inject: (member, frame, stale) => {
      const mine = hub
      mine?.driver.post(() => {
        if (mine !== hub) return
        if (stale) stage.stale++
        mine.options.receive(member, frame)
      })
    }
  }
}
