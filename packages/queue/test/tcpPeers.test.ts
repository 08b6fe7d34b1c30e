import { assert, describe, it } from "@effect/vitest"
import { type Handle, MessageQueues } from "@phalanx/core/MessageQueues"
import * as IpcQueues from "@phalanx/queue/IpcQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { secret, until, wire } from "./tcpHarness.ts"

interface Message {
  readonly from: number
  readonly channel: number
  readonly sequence: number
  readonly bytes: Uint8Array
}

/** One rank's end of the lanes between ranks. */
const openPeers = Effect.fnUntraced(function*(rank: number, ranks: number, group = "test", key = secret) {
  const queues = yield* MessageQueues
  const messages: Array<Message> = []
  const lost: Array<readonly [from: number, issue: string]> = []
  const peers = yield* queues.peers({
    group,
    secret: key,
    rank,
    ranks,
    receive: (from, channel, sequence, bytes) => messages.push({ from, channel, sequence, bytes }),
    lost: (from, issue) => lost.push([from, issue])
  })
  return { rank, peers, messages, lost }
})

const three = Effect.forEach([0, 1, 2], (rank) => openPeers(rank, 3))
const numbers = (length: number) => Array.from({ length }, (_, index) => index)
const handlesOf = (all: ReadonlyArray<{ readonly peers: { readonly handle: Handle } }>) => all.map((one) => one.peers.handle)

for (const [name, layer] of [["TCP", TcpQueues.layer], ["Unix sockets", IpcQueues.layer]] as const) {
  describe(`lanes between ranks over ${name}`, () => {
    it.live("every pair's messages arrive once, in order, in both directions, with channel, sequence and bytes", () =>
      Effect.gen(function*() {
        const all = yield* three
        const handles = handlesOf(all)
        const lanes = yield* Effect.forEach(all, (one) => one.peers.connect(handles))
        const payload = (from: number, to: number, n: number) => new Uint8Array((n * 37) % 9000).fill(from * 16 + to + n)
        for (const n of numbers(500)) {
          for (const from of [0, 1, 2]) {
            for (const to of [0, 1, 2]) if (from !== to) lanes[from]!.send(to, 2 ** 32 - 1 - from, n, payload(from, to, n))
          }
        }
        for (const { lost, messages, rank } of all) {
          yield* until("all have come", () => messages.length >= 1000)
          for (const from of [0, 1, 2].filter((from) => from !== rank)) {
            const mine = messages.filter((message) => message.from === from)
            assert.deepStrictEqual(mine.map((message) => message.sequence), numbers(500))
            for (const { bytes, channel, sequence } of mine) {
              assert.strictEqual(channel, 2 ** 32 - 1 - from)
              assert.isTrue(Buffer.compare(bytes, payload(from, rank, sequence)) === 0)
            }
          }
          assert.deepStrictEqual(lost, [])
        }
      }).pipe(Effect.provide(layer)))

    it.live("bytes belong to the receiver, aligned for numbers of 4 bytes, and the sender may change its own at once", () =>
      Effect.gen(function*() {
        const all = yield* three
        const lanes = yield* Effect.forEach(all, (one) => one.peers.connect(handlesOf(all)))
        const lengths = [0, 1, 3, 1000, 1024, 100_000, 700_001]
        for (const [n, length] of lengths.entries()) {
          const values = new Float32Array(length).map((_, index) => index + n)
          lanes[0]!.send(2, 1, n, new Uint8Array(values.buffer))
          values.fill(-1)
        }
        const { messages } = all[2]!
        yield* until("all have come", () => messages.length === lengths.length)
        for (const [n, { bytes }] of messages.entries()) {
          const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
          assert.strictEqual(values.length, lengths[n])
          assert.isTrue(values.every((value, index) => value === index + n))
          values.fill(0)
        }
      }).pipe(Effect.provide(layer)))

    it.live("a later generation of the same ranks has lanes of its own", () =>
      Effect.gen(function*() {
        const [zero, one, two] = yield* three
        const all = [zero!, one!, two!]
        const scope = yield* Scope.make()
        const former = yield* Effect.forEach(all, (rank) => Scope.provide(rank.peers.connect(handlesOf(all)), scope))
        former[0]!.send(1, 0, 1, new Uint8Array([1]))
        former[1]!.send(0, 0, 1, new Uint8Array([1]))
        yield* until("the first ones have come", () => zero!.messages.length === 1 && one!.messages.length === 1)
        yield* Scope.close(scope, Exit.void)
        const rest = [zero!, one!]
        const lanes = yield* Effect.forEach(rest, (rank) => rank.peers.connect(handlesOf(rest)))
        lanes[0]!.send(1, 0, 2, new Uint8Array([2]))
        lanes[1]!.send(0, 0, 2, new Uint8Array([2]))
        yield* until("both have come", () => zero!.messages.length === 2 && one!.messages.length === 2)
        assert.deepStrictEqual(all.map((rank) => rank.lost), [[], [], []])
      }).pipe(Effect.provide(layer)))

    it.live("a rank that has left is news only to who still sends to it", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const zero = yield* openPeers(0, 2)
        const one = yield* Scope.provide(openPeers(1, 2), scope)
        const handles = handlesOf([zero, one])
        const lanes = yield* zero.peers.connect(handles)
        const leaving = yield* Scope.provide(one.peers.connect(handles), scope)
        leaving.send(0, 1, 1, new Uint8Array([7]))
        yield* Scope.close(scope, Exit.void)
        yield* until("its last word has come", () => zero.messages.length === 1)
        assert.deepStrictEqual(zero.lost, [])
        yield* until("sending to it is told", () => {
          lanes.send(1, 1, 1, new Uint8Array([7]))
          return zero.lost.length > 0
        })
        assert.deepStrictEqual(zero.lost[0], [1, "rank 1 has left this generation"])
      }).pipe(Effect.provide(layer)))
  })
}

describe("lanes between ranks over TCP, the network", () => {
  const quick = TcpQueues.layerWith({ deadline: "2 seconds" })

  it.live("messages survive a lost connection; one that stays lost is told", () =>
    Effect.gen(function*() {
      const zero = yield* openPeers(0, 2)
      const one = yield* openPeers(1, 2)
      const between = yield* wire(zero.peers.handle)
      const zeros = yield* zero.peers.connect(handlesOf([zero, one]))
      const ones = yield* one.peers.connect([between.handle, one.peers.handle])
      for (const round of numbers(3)) {
        for (const n of numbers(300)) {
          zeros.send(1, round, n, new Uint8Array(n))
          ones.send(0, round, n, new Uint8Array(n))
        }
        yield* until("some have come", () => zero.messages.length > round * 300 && one.messages.length > round * 300)
        between.cut()
      }
      yield* until("all have come", () => zero.messages.length >= 900 && one.messages.length >= 900)
      for (const { messages } of [zero, one]) {
        assert.deepStrictEqual(messages.map((message) => message.channel * 300 + message.sequence), numbers(900))
      }
      between.tear()
      yield* until("both know", () => zero.lost.length > 0 && one.lost.length > 0)
      assert.deepStrictEqual(zero.lost, [[1, "no connection for 2s"]])
      assert.match(one.lost[0]![1], /^no connection to tcp:\/\/127\.0\.0\.1:\d+ for 2s$/)
    }).pipe(Effect.provide(quick)))

  it.live("a rank with another secret is not heard", () =>
    Effect.gen(function*() {
      const zero = yield* openPeers(0, 2)
      const one = yield* openPeers(1, 2, "test", "f".repeat(32))
      const two = yield* openPeers(1, 2)
      const lanes = yield* zero.peers.connect(handlesOf([zero, two]))
      const forged = yield* one.peers.connect(handlesOf([zero, two]))
      const honest = yield* two.peers.connect(handlesOf([zero, two]))
      forged.send(0, 1, 1, new Uint8Array([1]))
      lanes.send(1, 1, 1, new Uint8Array([2]))
      honest.send(0, 1, 1, new Uint8Array([3]))
      yield* until("the honest ones have come", () => zero.messages.length > 0 && two.messages.length > 0)
      assert.deepStrictEqual([zero.messages.map((message) => message.bytes[0]), one.messages, two.messages.length], [[3], [], 1])
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("handles of other lanes are a QueueError", () =>
    Effect.gen(function*() {
      const zero = yield* openPeers(0, 2)
      const error = yield* Effect.flip(zero.peers.connect([zero.peers.handle, { transport: "shm", data: null }]))
      assert.deepStrictEqual([error._tag, error.operation], ["QueueError", "attach to"])
    }).pipe(Effect.provide(TcpQueues.layer)))
})
