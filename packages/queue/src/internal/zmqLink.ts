/**
 * One lane in both directions: numbers messages, keeps them until the other end has acknowledged them, and sends them again after the
 * connection under it was replaced. ZeroMQ promises order on one connection only; across connections this does.
 *
 * - ZL-1: what is sent is delivered once, in order, whatever connections come and go meanwhile.
 * - ZL-2: at most `frames` messages and `bytes` bytes are under way; what is beyond waits here, so ZeroMQ's own buffers stay bounded.
 * - ZL-3: a lost message is found by the next message, or by a `ping` after a second without progress.
 *
 * A `close` with a number comes after what was sent before; with number 0 it ends the lane at once.
 *
 * Every message begins with a header of 13 bytes: kind (1), sequence number (6) and number of the last message received in order (6),
 * little-endian.
 */

/** What a message is. `more` is a part of a payload that the next message continues. */
const Kind = { data: 1, more: 2, ack: 3, hello: 4, resume: 5, ping: 6, close: 7 } as const
type Kind = typeof Kind[keyof typeof Kind]

const headerBytes = 13
/** Payloads up to this size travel in one part with their header: a copy costs less than a second part. */
const inlineBytes = 4096
/** ZeroMQ encrypts and sends a message in one go; parts of this size keep heartbeats and other lanes alive under large ones. */
const partBytes = 1 << 20
/** A payload is at most this large, so that a peer cannot make the other end collect parts without end. */
const payloadBytes = 2 ** 31 + 64

const ackAfterMillis = 20
const stalledAfterMillis = 1000

export interface LinkOptions {
  /** Hands a message to the socket at once; it may be lost. `body` is shared by every lane that carries the same payload. */
  readonly transmit: (head: Uint8Array, body: Uint8Array | undefined) => void
  readonly deliver: (payload: Buffer) => void
  /** The other end speaks: its connection works. */
  readonly connected: () => void
  /** The other end has closed the lane. */
  readonly closed: (reason: string) => void
  /** The other end sent bytes that are no message of this protocol. */
  readonly malformed: (issue: string) => void
  readonly frames: number
  readonly bytes: number
}

interface Entry {
  readonly kind: Kind
  readonly payload: Uint8Array
}

/** When to wait for the other end no longer: never, when a connection was there and is not, when there is none. */
export type Absence = "never" | "lost" | "not connected"

interface Idler {
  readonly done: () => void
  readonly unless: Absence
}

// Small messages are copied by ZeroMQ before `transmit` returns, so they can all be written here.
const scratch = Buffer.allocUnsafeSlow(128)

export class Link {
  private readonly options: LinkOptions
  /** Sent or to be sent, not yet acknowledged; the one at `head` bears the number `acked + 1`. */
  private queue: Array<Entry | undefined> = []
  private head = 0
  private acked = 0
  private sent = 0
  private last = 0
  private underWay = 0
  /** A connection is there, as far as is known; `open` when the other end has also said what it has. */
  private alive = false
  private open = false
  private ended = false
  private received = 0
  private complained = -1
  private owedFrames = 0
  private owedBytes = 0
  private parts: Array<Buffer> = []
  private partsBytes = 0
  private ackTimer: NodeJS.Timeout | undefined
  private stallTimer: NodeJS.Timeout | undefined
  private ackedAtStall = 0
  private wasOpen = false
  private idlers: Array<Idler> = []

  constructor(options: LinkOptions) {
    this.options = options
  }

  /** Sends a payload, which must not change afterwards. */
  send(payload: Uint8Array): void {
    if (this.ended) return
    let from = 0
    for (; payload.length - from > partBytes; from += partBytes) {
      this.queue.push({ kind: Kind.more, payload: payload.subarray(from, from + partBytes) })
      this.last++
    }
    this.queue.push({ kind: Kind.data, payload: from === 0 ? payload : payload.subarray(from) })
    this.last++
    this.advance()
  }

  /** Calls back when the other end has acknowledged everything sent, or the lane has ended, or nobody is there to wait for. */
  whenIdle(done: () => void, unless: Absence): void {
    const idler = { done, unless }
    if (this.ended || this.acked === this.last || this.isAbsent(idler)) return done()
    this.idlers.push(idler)
    if (this.open) this.transmit(Kind.ping, this.sent)
  }

  private readonly isAbsent = ({ unless }: Idler): boolean =>
    !this.alive && (unless === "not connected" || (unless === "lost" && this.wasOpen))

  /** The connection is new: asks the other end what it has, and sends nothing else before it has said so. */
  greet(): void {
    if (this.ended) return
    this.alive = true
    this.open = false
    this.transmit(Kind.hello, 0)
  }

  /** Asks for a sign of life. */
  probe(): void {
    if (!this.ended) this.transmit(Kind.ping, this.sent)
  }

  /** The connection is gone; what is unacknowledged waits for the next one. */
  interrupted(): void {
    this.alive = false
    this.open = false
    const idlers = this.idlers
    this.idlers = idlers.filter((idler) => !this.isAbsent(idler))
    for (const idler of idlers) if (this.isAbsent(idler)) idler.done()
  }

  /** Tells the other end, after everything sent before, that nothing follows. */
  finish(reason: string): void {
    if (this.ended) return
    this.queue.push({ kind: Kind.close, payload: Buffer.from(reason) })
    this.last++
    this.advance()
  }

  /** Ends the lane at once, and tells the other end why. */
  close(reason: string): void {
    if (this.ended) return
    this.options.transmit(closeMessage(reason), undefined)
    this.end()
  }

  /** Ends the lane: nothing is kept, sent or delivered any more. */
  end(): void {
    this.ended = true
    this.open = false
    clearTimeout(this.ackTimer)
    clearTimeout(this.stallTimer)
    this.queue = []
    this.head = 0
    this.parts = []
    this.idle()
  }

  /** Takes one message as it came: a header, with its payload behind it or in a part of its own. */
  receive(head: Buffer, body: Buffer | undefined): void {
    if (this.ended) return
    if (head.length < headerBytes) return this.malformed(`a message of ${head.length} bytes`)
    const kind = head[0]
    const sequence = head.readUIntLE(1, 6)
    const received = head.readUIntLE(7, 6)
    if (received > this.last) return this.malformed(`acknowledges message ${received}, ${this.last} were sent`)
    switch (kind) {
      case Kind.data:
      case Kind.more:
        this.acknowledged(received)
        return this.accept(kind, sequence, body ?? head.subarray(headerBytes))
      case Kind.ack:
        // Closed by a message that could not be handed over, on a connection that turns out to work.
        return this.open ? this.acknowledged(received) : this.resume(received)
      case Kind.hello:
        this.transmit(Kind.resume, 0)
        return this.resume(received)
      case Kind.resume:
        return this.resume(received)
      case Kind.ping:
        this.acknowledged(received)
        return this.transmit(sequence > this.received ? Kind.resume : Kind.ack, 0)
      case Kind.close:
        if (sequence > 0) {
          if (sequence !== this.received + 1) return
          this.received = sequence
        }
        // Whoever closes a lane at once counts those that were still there.
        this.transmit(Kind.ack, 0)
        this.end()
        return this.options.closed(head.toString("utf8", headerBytes))
      default:
        return this.malformed(`a message of kind ${kind}`)
    }
  }

  /** Ends the lane because its other end does not keep to this protocol. */
  malformed(issue: string): void {
    if (!this.ended) this.options.malformed(issue)
  }

  private accept(kind: typeof Kind.data | typeof Kind.more, sequence: number, payload: Buffer): void {
    this.owedFrames++
    this.owedBytes += payload.length
    if (sequence === this.received + 1) {
      this.received = sequence
      if (kind === Kind.more) {
        this.partsBytes += payload.length
        if (this.partsBytes > payloadBytes) return this.malformed(`a payload of more than ${payloadBytes} bytes`)
        this.parts.push(payload)
      } else if (this.parts.length === 0) {
        this.options.deliver(payload)
      } else {
        this.parts.push(payload)
        const whole = Buffer.concat(this.parts)
        this.parts = []
        this.partsBytes = 0
        this.options.deliver(whole)
      }
    } else if (sequence > this.received && this.complained !== this.received) {
      this.complained = this.received
      return this.transmit(Kind.resume, 0)
    }
    if (this.ended || this.owedFrames === 0) return
    if (this.owedFrames * 4 >= this.options.frames || this.owedBytes * 4 >= this.options.bytes) {
      this.transmit(Kind.ack, 0)
    } else if (this.ackTimer === undefined) {
      this.ackTimer = setTimeout(this.ackNow, ackAfterMillis)
      this.ackTimer.unref()
    }
  }

  private readonly ackNow = () => {
    this.ackTimer = undefined
    if (this.owedFrames > 0 && !this.ended) this.transmit(Kind.ack, 0)
  }

  private acknowledged(received: number): void {
    if (received <= this.acked) return
    while (this.acked < received) {
      const entry = this.queue[this.head]
      this.queue[this.head++] = undefined
      this.acked++
      if (this.acked <= this.sent) this.underWay -= entry?.payload.length ?? 0
    }
    if (this.sent < this.acked) this.sent = this.acked
    if (this.head === this.queue.length) {
      this.queue = []
      this.head = 0
    } else if (this.head > 1024 && this.head * 2 > this.queue.length) {
      this.queue.splice(0, this.head)
      this.head = 0
    }
    if (this.acked === this.last) this.idle()
    this.advance()
  }

  /** Sends everything after `received` again. */
  private resume(received: number): void {
    if (received < this.acked) {
      return this.malformed(`has ${received} messages, but acknowledged ${this.acked}; was its handle attached twice`)
    }
    this.open = false
    this.acknowledged(received)
    this.sent = received
    this.underWay = 0
    this.alive = true
    this.wasOpen = true
    this.open = true
    this.options.connected()
    this.advance()
  }

  private advance(): void {
    const { bytes, frames } = this.options
    while (this.open && this.sent < this.last && this.sent - this.acked < frames) {
      const entry = this.queue[this.head + this.sent - this.acked]!
      if (this.underWay > 0 && this.underWay + entry.payload.length > bytes) break
      this.sent++
      this.underWay += entry.payload.length
      this.transmit(entry.kind, this.sent, entry.payload)
    }
    if (this.acked < this.last && this.stallTimer === undefined) this.watch()
  }

  private idle(): void {
    for (const { done } of this.idlers.splice(0)) done()
  }

  private watch(): void {
    this.ackedAtStall = this.acked
    this.stallTimer = setTimeout(this.checkProgress, stalledAfterMillis)
    this.stallTimer.unref()
  }

  private readonly checkProgress = () => {
    this.stallTimer = undefined
    if (this.ended || this.acked === this.last) return
    if (this.acked === this.ackedAtStall) this.transmit(Kind.ping, this.sent)
    this.watch()
  }

  private transmit(kind: Kind, sequence: number, payload?: Uint8Array): void {
    const inline = payload !== undefined && payload.length <= inlineBytes
    const length = headerBytes + (inline ? payload.length : 0)
    const head = length <= scratch.length ? scratch.subarray(0, length) : Buffer.allocUnsafe(length)
    head[0] = kind
    head.writeUIntLE(sequence, 1, 6)
    head.writeUIntLE(this.received, 7, 6)
    if (inline) head.set(payload, headerBytes)
    this.owedFrames = 0
    this.owedBytes = 0
    this.options.transmit(head, inline ? undefined : payload)
  }
}

/** Whether a message only says what its sender has received, which may be the news that the lane is closed. */
export const isAck = (head: Uint8Array): boolean => head[0] === Kind.ack

/** What tells the other end that its lane is closed. */
export const closeMessage = (reason: string): Buffer => {
  const message = Buffer.alloc(headerBytes + Buffer.byteLength(reason))
  message[0] = Kind.close
  message.write(reason, headerBytes)
  return message
}
