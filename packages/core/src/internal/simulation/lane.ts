import type { Inbox, World } from "../../testing/World.ts"

/**
 * One direction of one connection: what is sent arrives once, in order, after a while. A cut holds it back; what had not arrived is there when the
 * cut is mended, as with a transport that sends again.
 */
export class Lane {
  private readonly world: World
  private readonly latency: () => number
  private inbox: Inbox | undefined
  /** On its way, oldest first. */
  private flight: Array<() => void> = []
  /** There, but nobody has attached. */
  private early: Array<() => void> = []
  private last = 0
  private overdue = 0
  private cuts = 0
  closed = false
  /** Milliseconds that each message takes longer. */
  delay = 0

  constructor(world: World, latency: () => number) {
    this.world = world
    this.latency = latency
  }

  get isCut(): boolean {
    return this.cuts > 0
  }

  /** From now on messages go to this inbox, those first that came before. */
  attach(inbox: Inbox): void {
    this.inbox = inbox
    for (const task of this.early.splice(0)) this.hand(task)
  }

  send(task: () => void): void {
    if (this.closed) return
    this.flight.push(task)
    const now = this.world.millis
    this.last = Math.max(this.last, now + this.latency() + this.delay)
    this.world.after(this.last - now, () => this.arrive())
  }

  cut(): void {
    this.cuts++
  }

  mend(): void {
    if (--this.cuts > 0) return
    for (; this.overdue > 0; this.overdue--) this.arrive()
  }

  /** The sender is gone, and with it the last of what it had sent: `keep` tells whether a message had left it. */
  lose(keep: () => boolean): void {
    const lost = this.flight.findIndex(() => !keep())
    if (lost >= 0) this.flight.length = lost
  }

  /** Tells, in a turn of the receiver's, when everything sent so far has arrived, or 5 ms have passed: what has not arrived by then never will. */
  drain(done: () => void): void {
    let waits = true
    const once = () => {
      if (!waits) return
      waits = false
      done()
    }
    if (this.closed || this.flight.length === 0) return this.inbox!.post(once)
    this.send(once)
    this.world.after(5, () => {
      if (!waits) return
      this.flight.length = 0
      this.inbox!.post(once)
    })
  }

  close(): void {
    this.closed = true
    this.flight.length = 0
    this.early.length = 0
  }

  private arrive(): void {
    if (this.closed) return
    if (this.cuts > 0) {
      this.overdue++
      return
    }
    const task = this.flight.shift()
    if (task === undefined) return
    if (this.inbox === undefined) this.early.push(task)
    else this.hand(task)
  }

  private hand(task: () => void): void {
    this.inbox!.post(() => this.closed ? undefined : task())
  }
}
