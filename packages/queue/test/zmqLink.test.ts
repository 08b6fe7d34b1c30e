import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import * as Crypto from "node:crypto"
import { vi } from "vitest"
import { Link } from "../src/internal/zmqLink.ts"
import { random } from "./fixtures/random.ts"

interface Carried {
  readonly head: Buffer
  readonly body: Buffer | undefined
}

/** One end of a lane, with what is on its way to it. */
const makeEnd = (frames: number, bytes: number) => {
  const end = {
    coming: [] as Array<Carried>,
    got: [] as Array<Buffer>,
    closed: [] as Array<string>,
    malformed: [] as Array<string>,
    other: undefined as unknown as { readonly coming: Array<Carried> },
    link: undefined as unknown as Link,
    /** Takes the next message; whether there was one. */
    take: (): boolean => {
      const message = end.coming.shift()
      if (message === undefined) return false
      end.link.receive(message.head, message.body)
      return true
    }
  }
  end.link = new Link({
    frames,
    bytes,
    // ZeroMQ copies small messages before it returns, and the sender uses its buffer again.
    transmit: (head, body) => end.other.coming.push({ head: Buffer.from(head), body: body === undefined ? undefined : Buffer.from(body) }),
    deliver: (payload) => end.got.push(Buffer.from(payload)),
    connected: () => {},
    closed: (reason) => end.closed.push(reason),
    malformed: (issue) => end.malformed.push(issue)
  })
  return end
}

/** Two ends and the wire between them. */
const makeLane = ({ bytes = 1 << 20, frames = 16 } = {}) => {
  const hub = makeEnd(frames, bytes)
  const spoke = makeEnd(frames, bytes)
  hub.other = spoke
  spoke.other = hub
  const settle = () => {
    while (hub.take() || spoke.take()) { /* until nothing is on its way */ }
  }
  /** The connection breaks, with all that is on its way, and another one comes. */
  const reconnect = () => {
    hub.coming.length = 0
    spoke.coming.length = 0
    hub.link.interrupted()
    spoke.link.interrupted()
    hub.link.greet()
  }
  return { hub, spoke, settle, reconnect }
}

const numbered = (count: number) => Array.from({ length: count }, (_, n) => Buffer.from(`message ${n}`))
const seeds = Array.from({ length: 20 }, (_, seed) => seed)

describe("a lane over connections that come and go", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it.each(seeds)("ZL-1: delivers what is sent once, in order, both ways, whatever gets lost (seed %i)", (seed) => {
    const next = random(seed)
    const { hub, reconnect, settle, spoke } = makeLane({ frames: 8, bytes: 4096 })
    const sent = { hub: [] as Array<Buffer>, spoke: [] as Array<Buffer> }
    reconnect()
    for (let step = 0; step < 3000; step++) {
      const [end, list] = next(2) === 0 ? [hub, sent.hub] as const : [spoke, sent.spoke] as const
      switch (next(12)) {
        case 0:
        case 1: {
          const bytes = Crypto.randomBytes(next(5) === 0 ? next(20_000) : next(100))
          list.push(bytes)
          end.link.send(bytes)
          break
        }
        case 2:
          if (next(10) === 0) reconnect()
          break
        case 3:
          if (next(10) === 0) end.coming.shift()
          break
        case 4:
          vi.advanceTimersByTime(next(200))
          break
        default:
          end.take()
      }
    }
    for (let round = 0; round < 5; round++) {
      settle()
      vi.advanceTimersByTime(1000)
    }
    settle()
    assert.deepStrictEqual([hub.malformed, spoke.malformed], [[], []])
    assert.strictEqual(Buffer.compare(Buffer.concat(spoke.got), Buffer.concat(sent.hub)), 0)
    assert.deepStrictEqual(spoke.got.map((bytes) => bytes.length), sent.hub.map((bytes) => bytes.length))
    assert.strictEqual(Buffer.compare(Buffer.concat(hub.got), Buffer.concat(sent.spoke)), 0)
    assert.deepStrictEqual(hub.got.map((bytes) => bytes.length), sent.spoke.map((bytes) => bytes.length))
  })

  it("ZL-1: a payload longer than a part is one payload again, though its connection is replaced in the middle", () => {
    const { hub, reconnect, settle, spoke } = makeLane({ bytes: 1 << 30 })
    reconnect()
    settle()
    const bytes = Crypto.randomBytes(3_500_000)
    hub.link.send(bytes)
    spoke.take()
    spoke.take()
    reconnect()
    settle()
    assert.strictEqual(spoke.got.length, 1)
    assert.strictEqual(Buffer.compare(spoke.got[0]!, bytes), 0)
  })

  it("ZL-2: no more than so many messages and bytes are under way; the rest follows as they are acknowledged", () => {
    for (const [limits, most] of [[{ frames: 16 }, 16], [{ bytes: 1000 }, 10]] as const) {
      const { hub, reconnect, settle, spoke } = makeLane(limits)
      reconnect()
      settle()
      for (let n = 0; n < 200; n++) hub.link.send(new Uint8Array(100))
      assert.strictEqual(spoke.coming.length, most)
      for (let rounds = 0; rounds < 100 && spoke.got.length < 200; rounds++) {
        while (spoke.coming.length > 0) {
          assert.isAtMost(spoke.coming.length, most)
          spoke.take()
        }
        vi.advanceTimersByTime(20)
        settle()
      }
      assert.strictEqual(spoke.got.length, 200)
    }
  })

  it("ZL-2: one payload larger than the bytes allowed goes alone", () => {
    const { hub, reconnect, settle, spoke } = makeLane({ bytes: 1000 })
    reconnect()
    settle()
    hub.link.send(new Uint8Array(50_000))
    hub.link.send(new Uint8Array(1))
    assert.strictEqual(spoke.coming.length, 1)
    vi.advanceTimersByTime(1000)
    settle()
    assert.deepStrictEqual(spoke.got.map((bytes) => bytes.length), [50_000, 1])
  })

  it("ZL-3: a lost message is found by the next one", () => {
    const { hub, reconnect, settle, spoke } = makeLane()
    reconnect()
    settle()
    const [first, second, third] = numbered(3)
    hub.link.send(first!)
    hub.link.send(second!)
    spoke.coming.shift()
    hub.link.send(third!)
    settle()
    assert.deepStrictEqual(spoke.got.map(String), ["message 0", "message 1", "message 2"])
  })

  it("ZL-3: the last message, lost, is found after a second without progress", () => {
    const { hub, reconnect, settle, spoke } = makeLane()
    reconnect()
    settle()
    hub.link.send(numbered(1)[0]!)
    spoke.coming.shift()
    vi.advanceTimersByTime(999)
    settle()
    assert.deepStrictEqual(spoke.got, [])
    vi.advanceTimersByTime(1)
    settle()
    assert.deepStrictEqual(spoke.got.map(String), ["message 0"])
  })
})
