import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Link } from "../src/internal/zmqLink.ts"
import { until } from "./tcpHarness.ts"

/** Numbers from 0 up to `below`, the same ones for the same seed. */
const random = (seed: number) => (below: number): number => {
  seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x9e3779b9 | 0
  return ((seed ^ (seed >>> 13)) >>> 0) % below
}

type Wire = Array<readonly [head: Buffer, body: Buffer | undefined]>

/** Two links and the wires between them, on which nothing moves by itself. */
const makePair = (limits: { readonly frames: number; readonly bytes: number }) => {
  const issues: Array<string> = []
  const make = (wire: Wire, received: Array<Buffer>) =>
    new Link({
      ...limits,
      transmit: (head, body) => wire.push([Buffer.from(head), body === undefined ? undefined : Buffer.from(body)]),
      deliver: (payload) => received.push(payload),
      connected: () => {},
      closed: (reason) => issues.push(`closed: ${reason}`),
      malformed: (issue) => issues.push(issue)
    })
  const received: [Array<Buffer>, Array<Buffer>] = [[], []]
  const wires: [Wire, Wire] = [[], []]
  const links = [make(wires[0], received[0]), make(wires[1], received[1])] as const
  return {
    links,
    received,
    wires,
    issues,
    /** Moves one message from one link to the other. */
    move: (from: 0 | 1) => {
      const message = wires[from].shift()
      if (message !== undefined) links[1 - from as 0 | 1].receive(...message)
    },
    /** Drops what is on the wires, and connects anew. */
    reconnect: () => {
      wires[0].length = 0
      wires[1].length = 0
      links[0].greet()
    }
  }
}

const payload = (n: number): Buffer => Buffer.from(`${n} ${"x".repeat((n * 31) % 300)}`)

describe("a lane that outlives its connections", () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    it.effect(`delivers once and in order whatever is lost (seed ${seed})`, () =>
      Effect.sync(() => {
        const next = random(seed)
        const { issues, links, move, received, reconnect, wires } = makePair({ frames: 16, bytes: 2000 })
        const sent: [number, number] = [0, 0]
        reconnect()
        for (let step = 0; step < 20_000; step++) {
          const side = next(2) as 0 | 1
          switch (next(40)) {
            case 0:
              if (next(8) === 0) reconnect()
              break
            case 1:
              // A message handed to a connection that was already ending.
              wires[side].shift()
              break
            case 2:
            case 3:
            case 4:
            case 5:
              links[side].send(payload(sent[side]++))
              break
            default:
              move(side)
          }
          assert.isAtMost(wires[0].length + wires[1].length, 400)
        }
        reconnect()
        while (wires[0].length + wires[1].length > 0) {
          move(0)
          move(1)
        }
        for (const side of [0, 1] as const) {
          assert.deepStrictEqual(received[1 - side]!.map(String), Array.from({ length: sent[side] }, (_, n) => String(payload(n))))
          links[side].end()
        }
        assert.isAbove(sent[0], 500)
        assert.deepStrictEqual(issues, [])
      }))
  }

  it.effect("never has more under way than its limits, and goes on when it hears from the other end", () =>
    Effect.sync(() => {
      const { links, move, received, reconnect, wires } = makePair({ frames: 16, bytes: 2000 })
      reconnect()
      move(0)
      move(1)
      for (let n = 0; n < 100; n++) links[0].send(Buffer.alloc(10))
      assert.strictEqual(wires[0].length, 16)
      for (let n = 0; n < 100; n++) links[1].send(Buffer.alloc(900))
      assert.strictEqual(wires[1].length, 2)
      while (wires[0].length + wires[1].length > 0) {
        move(0)
        move(1)
      }
      assert.deepStrictEqual(received.map((list) => list.length), [100, 100])
      for (const link of links) link.end()
    }))

  it.live("finds by itself that the last message was lost", () =>
    Effect.gen(function*() {
      const { links, move, received, reconnect, wires } = makePair({ frames: 16, bytes: 2000 })
      reconnect()
      move(0)
      move(1)
      links[0].send(Buffer.from("lost"))
      wires[0].length = 0
      yield* until("it has come after all", () => {
        move(0)
        move(1)
        return received[1].length === 1
      })
      for (const link of links) link.end()
    }))

  it.effect("a last word comes after what was sent before; a close does not wait", () =>
    Effect.sync(() => {
      const last = makePair({ frames: 16, bytes: 2000 })
      last.reconnect()
      for (let n = 0; n < 40; n++) last.links[0].send(payload(n))
      last.links[0].finish("that was all")
      while (last.wires[0].length + last.wires[1].length > 0) {
        last.move(0)
        last.move(1)
      }
      assert.deepStrictEqual([last.received[1].length, last.issues], [40, ["closed: that was all"]])

      const now = makePair({ frames: 16, bytes: 2000 })
      now.links[0].send(payload(1))
      now.links[0].close("now")
      now.move(0)
      assert.deepStrictEqual([now.received[1].length, now.issues], [0, ["closed: now"]])
      for (const link of [...last.links, ...now.links]) link.end()
    }))
})
