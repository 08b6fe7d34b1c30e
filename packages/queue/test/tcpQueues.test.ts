import { assert, describe, it } from "@effect/vitest"
import type { Handle } from "@phalanx/core/MessageQueues"
import * as IpcQueues from "@phalanx/queue/IpcQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import { existsSync, readdirSync, statSync } from "node:fs"
import { connect as dial, createServer } from "node:net"
import { dirname } from "node:path"
import { capability, curveKeyPair, Dealer } from "zeromq"
import { attach, openGroup, portOf, startRank, until, wire } from "./tcpHarness.ts"

/** A busy machine takes its time for the last frames, and ends wait for them so long. */
const patient = { flush: "10 seconds" } as const
const over = { TCP: TcpQueues.layerWith(patient), "Unix sockets": IpcQueues.layerWith(patient) }
const quick = TcpQueues.layerWith({ deadline: "1 second" })
const refused = Effect.map(Metric.value(TcpQueues.refused), (state) => state.count)
const numbers = (length: number) => Array.from({ length }, (_, index) => index)
const place = (handle: Handle) => handle.data as { address: string; serverKey: string; requests: string; control: string }

for (const [name, layer] of Object.entries(over)) {
  describe(`queues over ${name}`, () => {
    it.live("MQ-1: a rank receives every frame that names it, once and in order, those from before it attached too", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        const handles = yield* Effect.forEach([0, 1, 2], (rank) => group.publisher.connect(rank, 1))
        const targets = numbers(3000).map((n) => [0, 1, 2].filter((rank) => (n >> rank) % 2 === 0))
        targets.slice(0, 1000).forEach((ranks, n) => group.publish([n], ...ranks))
        const ranks = yield* Effect.forEach(handles, (handle) => attach(handle))
        targets.slice(1000).forEach((ranks, n) => group.publish([n + 1000], ...ranks))
        for (const [rank, { frames }] of ranks.entries()) {
          const mine = numbers(3000).filter((n) => targets[n]!.includes(rank))
          yield* until("all have come", () => frames.length >= mine.length)
          assert.deepStrictEqual(frames.map((frame) => frame[0]), mine)
        }
        assert.deepStrictEqual(group.lost, [])
      }).pipe(Effect.provide(layer)))

    it.live("frames of 5 MiB travel in both directions, byte for byte", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        const bytes = new Uint8Array(5 * 2 ** 20).map((_, index) => index * 31 + (index >> 11))
        yield* attach(yield* group.publisher.connect(0, 1), (frame, subscriber) => subscriber().send(["back", ...frame]))
        for (const n of numbers(4)) group.publish([n, bytes, "end"], 0)
        yield* until("all are back", () => group.heard(0).length === 4)
        for (const [n, frame] of group.heard(0).entries()) {
          assert.deepStrictEqual([frame[0], frame[1], frame[3]], ["back", n, "end"])
          assert.isTrue(Buffer.compare(frame[2] as Uint8Array, bytes) === 0)
        }
      }).pipe(Effect.provide(layer)))

    it.live("MQ-2: control frames overtake the requests that a busy rank has not read", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        yield* startRank(group, 0)
        group.publish(["block", 500], 0)
        // More than may be under way, so that some are still here when the rank reads again.
        for (const n of numbers(3000)) group.publish([n], 0)
        group.publisher.control(0, ["count"])
        yield* until("the control frame is answered", () => group.heard(0).some((frame) => frame[0] === "count"))
        const before = group.heard(0).find((frame) => frame[0] === "count")![1] as number
        assert.isAtMost(before, 100)
        yield* until("the requests are answered", () => group.heard(0).length === 3002)
        assert.deepStrictEqual(group.heard(0).filter((frame) => frame[0] === "got").map((frame) => frame[1]), ["block", ...numbers(3000)])
      }).pipe(Effect.provide(layer)))

    it.live("MQ-3: a rank that does not read delays no other rank", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        yield* startRank(group, 0)
        yield* startRank(group, 1)
        group.publish(["block", 1000], 0)
        const large = new Uint8Array(2 ** 20)
        for (const n of numbers(12)) group.publish([n, large], 0)
        const times: Array<number> = []
        for (const n of numbers(50)) {
          const start = performance.now()
          group.publish([n], 0, 1)
          yield* until("rank 1 answers", () => group.heard(1).length > n)
          times.push(performance.now() - start)
        }
        assert.strictEqual(group.heard(0).length, 0)
        assert.isBelow(times.sort((a, b) => a - b)[25]!, 50)
        yield* until("rank 0 has caught up", () => group.heard(0).length === 63)
      }).pipe(Effect.provide(layer)))

    it.live("a rank that is replaced hears so, and what it still sends arrives nowhere", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        const former = yield* attach(yield* group.publisher.connect(0, 1))
        const before = yield* refused
        const next = yield* attach(yield* group.publisher.connect(0, 2))
        former.subscriber.send(["stale"])
        next.subscriber.send(["fresh"])
        group.publish(["for the new one"], 0)
        yield* until("all is delivered", () => next.frames.length === 1 && group.heard(0).length === 1 && former.lost.length === 1)
        assert.deepStrictEqual([group.heard(0), next.frames, former.frames], [[["fresh"]], [["for the new one"]], []])
        assert.deepStrictEqual(former.lost, ["replaced by incarnation 2"])
        assert.isAtLeast(yield* refused, before)
        assert.deepStrictEqual([next.lost, group.lost], [[], []])
      }).pipe(Effect.provide(layer)))

    it.live("a rank that is disconnected hears so; its handle attaches no longer", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        const handle = yield* group.publisher.connect(0, 1)
        const rank = yield* attach(handle)
        group.publisher.disconnect(0)
        group.publish(["nobody reads this"], 0)
        yield* until("the rank knows", () => rank.lost.length === 1)
        assert.deepStrictEqual([rank.lost, rank.frames, group.lost], [["the driver has disconnected this rank"], [], []])
        const error = yield* Effect.flip(attach(handle))
        assert.strictEqual(error._tag, "QueueError")
        assert.strictEqual(error.issue, "the driver has disconnected this rank")
      }).pipe(Effect.provide(layer)))

    it.live("a driver that closes its queues says so to its ranks, after everything it sent before", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const group = yield* Scope.provide(openGroup, scope)
        const rank = yield* attach(yield* group.publisher.connect(0, 1))
        for (const n of numbers(3000)) group.publish([n], 0)
        yield* Scope.close(scope, Exit.void)
        yield* until("the rank knows", () => rank.lost.length === 1)
        assert.deepStrictEqual(rank.frames.map((frame) => frame[0]), numbers(3000))
        assert.deepStrictEqual(rank.lost, ["the driver has closed the queue"])
      }).pipe(Effect.provide(layer)))

    it.live("a worker that leaves delivers what it sent, and its process ends by itself", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        const child = yield* startRank(group, 0)
        for (const n of numbers(3000)) group.publish([n], 0)
        group.publish(["leave"], 0)
        yield* until("the process has ended", () => child.exitCode !== null)
        assert.strictEqual(child.exitCode, 0)
        assert.deepStrictEqual(group.heard(0).map((frame) => frame[1]), [...numbers(3000), "leave"])
      }).pipe(Effect.provide(layer)))

    it.live("flush waits until the driver has every frame", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        const { subscriber } = yield* attach(yield* group.publisher.connect(0, 1))
        for (const n of numbers(3000)) subscriber.send([n])
        yield* subscriber.flush
        assert.strictEqual(group.heard(0).length, 3000)
      }).pipe(Effect.provide(layer)))

    it.live("MQ-4: bytes of a rank that are not a frame are told to lost and harm that rank alone", () =>
      Effect.gen(function*() {
        const group = yield* openGroup
        const handle = yield* group.publisher.connect(0, 1)
        const other = yield* attach(yield* group.publisher.connect(1, 1))
        for (const [bytes, issue] of malformed) {
          const handle = yield* group.publisher.connect(0, 1)
          group.lost.length = 0
          const dealer = yield* stranger(place(handle).address, place(handle).serverKey, place(handle).requests)
          dealer.send(bytes).catch(() => {})
          yield* until("the driver knows", () => group.lost.length > 0)
          assert.strictEqual(group.lost[0]![0], 0)
          assert.include(group.lost[0]![1], issue)
        }
        assert.strictEqual(group.lost.length, 1)
        group.publish(["still"], 0, 1)
        yield* until("the other rank reads", () => other.frames.length === 1)
        assert.strictEqual((yield* Effect.flip(attach(handle)))._tag, "QueueError")
      }).pipe(Effect.provide(layer)))

    it.live("sockets, folders and file descriptors are gone when the scope ends", () =>
      Effect.gen(function*() {
        const descriptors = () => readdirSync("/proc/self/fd").length
        const folders: Array<string> = []
        const first = descriptors()
        for (const n of numbers(3)) {
          yield* Effect.gen(function*() {
            const group = yield* openGroup
            const handle = yield* group.publisher.connect(0, 1)
            yield* attach(handle, (frame, subscriber) => subscriber().send(frame))
            group.publish([n], 0)
            yield* until("it is back", () => group.heard(0).length === 1)
            if (name !== "Unix sockets") return
            const folder = dirname(place(handle).address.slice("ipc://".length))
            assert.strictEqual(statSync(folder).mode & 0o777, 0o700)
            folders.push(folder)
          }).pipe(Effect.scoped)
        }
        yield* until("descriptors are closed", () => descriptors() <= first)
        assert.deepStrictEqual(folders.filter(existsSync), [])
      }).pipe(Effect.provide(layer)))
  })
}

/** A hand-made socket. */
const stranger = (address: string, serverKey: string | null, identity: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const keys = curveKeyPair()
      const dealer = new Dealer({
        linger: 0,
        routingId: identity,
        ...(serverKey === null ? {} : { curveServerKey: serverKey, curvePublicKey: keys.publicKey, curveSecretKey: keys.secretKey })
      })
      dealer.connect(address)
      return dealer
    }),
    (dealer) => Effect.sync(() => dealer.close())
  )

/** A message of the wire protocol. */
const message = (kind: number, sequence: number, received: number, payload: Uint8Array = new Uint8Array()) => {
  const head = Buffer.alloc(13)
  head[0] = kind
  head.writeUIntLE(sequence, 1, 6)
  head.writeUIntLE(received, 7, 6)
  return Buffer.concat([head, payload])
}

const malformed: ReadonlyArray<readonly [Array<Buffer> | Buffer, string]> = [
  [Buffer.from("hello"), "a message of 5 bytes"],
  [message(99, 1, 0), "a message of kind 99"],
  [message(3, 0, 77), "acknowledges message 77"],
  [[message(1, 1, 0), Buffer.from("a"), Buffer.from("b")], "a message of 4 parts"],
  [message(1, 1, 0, Buffer.from([0xc1])), "bytes that are not a frame"],
  [message(1, 1, 0, Buffer.from([0x81, 0xa1, 0x61, 0x01])), "bytes that are not a frame"]
]

describe("queues over TCP, the network", () => {
  it.live("MQ-1: frames of both directions survive lost connections, once each and in order", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      const between = yield* wire(yield* group.publisher.connect(0, 1))
      const rank = yield* attach(between.handle)
      const round = 2000
      for (const cut of numbers(5)) {
        for (const n of numbers(round)) {
          group.publish([cut * round + n, "x".repeat(n % 700)], 0)
          rank.subscriber.send([cut * round + n])
          if (n % 500 === 0) group.publisher.control(0, ["control", cut, n])
        }
        // Some frames of the round are through, some on the way, some not yet sent.
        yield* until("a part has come", () => rank.frames.length > cut * round + 100)
        between.cut()
      }
      yield* until("all have come", () => rank.frames.length >= 5 * round + 20 && group.heard(0).length >= 5 * round)
      assert.deepStrictEqual(rank.frames.map((frame) => frame[0]).filter((first) => first !== "control"), numbers(5 * round))
      assert.deepStrictEqual(
        rank.frames.filter((frame) => frame[0] === "control").map((frame) => [frame[1], frame[2]]),
        numbers(20).map((n) => [n >> 2, (n % 4) * 500])
      )
      assert.deepStrictEqual(group.heard(0).map((frame) => frame[0]), numbers(5 * round))
      assert.isAtLeast(between.connections(), 4)
      assert.deepStrictEqual([group.lost, rank.lost], [[], []])
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("a connection that has fallen silent is replaced", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      const between = yield* wire(yield* group.publisher.connect(0, 1))
      const rank = yield* attach(between.handle)
      const connections = between.connections()
      between.silence()
      for (const n of numbers(100)) {
        group.publish([n], 0)
        rank.subscriber.send([n])
      }
      yield* until("all have come", () => rank.frames.length >= 100 && group.heard(0).length >= 100)
      assert.deepStrictEqual([rank.frames, group.heard(0)].map((frames) => frames.map((frame) => frame[0])), [numbers(100), numbers(100)])
      assert.isAbove(between.connections(), connections)
      assert.deepStrictEqual([group.lost, rank.lost], [[], []])
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("a connection that stays lost is told to both ends once, with the time", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      const between = yield* wire(yield* group.publisher.connect(0, 1))
      const rank = yield* attach(between.handle)
      const other = yield* attach(yield* group.publisher.connect(1, 1))
      between.tear()
      yield* until("both know", () => group.lost.length > 0 && rank.lost.length > 0)
      assert.deepStrictEqual(group.lost, [[0, "no connection for 1s"]])
      assert.strictEqual(rank.lost.length, 1)
      assert.match(rank.lost[0]!, /^no connection to tcp:\/\/127\.0\.0\.1:\d+ for 1s$/)
      group.publish(["still"], 0, 1)
      yield* until("the other rank reads", () => other.frames.length === 1)
    }).pipe(Effect.provide(quick)))

  it.live("attaching where nobody answers is a QueueError that names the address and the time", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      const between = yield* wire(yield* group.publisher.connect(0, 1))
      between.tear()
      const error = yield* Effect.flip(attach(between.handle))
      assert.strictEqual(error._tag, "QueueError")
      assert.match(
        error.message,
        /^attach to tcp:\/\/127\.0\.0\.1:\d+: no (answer|connection to \S+) for 1s\. See that the driver lives/
      )
    }).pipe(Effect.provide(quick)))

  it.live("a port that is taken is a QueueError with the address and the system's words", () =>
    Effect.gen(function*() {
      const port = yield* listening
      const open = openGroup.pipe(Effect.provide(TcpQueues.layerWith({ port })))
      const error = yield* Effect.flip(open)
      assert.deepStrictEqual([error._tag, error.operation, error.where, error.issue], [
        "QueueError",
        "bind",
        `tcp://127.0.0.1:${port}`,
        "Address already in use"
      ])
      assert.include(error.advice, "port 0")
    }))

  it.live("of a range the first free port is taken, and a full range fails", () =>
    Effect.gen(function*() {
      const first = yield* listening
      const layer = TcpQueues.layerWith({ port: { first, last: first + 50 } })
      const group = yield* openGroup.pipe(Effect.provide(layer))
      const port = portOf(yield* group.publisher.connect(0, 1))
      assert.isTrue(port > first && port <= first + 50)
      const none = openGroup.pipe(Effect.provide(TcpQueues.layerWith({ port: { first: port, last: port } })))
      assert.strictEqual((yield* Effect.flip(none)).issue, "Address already in use")
    }))

  it.live("32 drivers that open at once get 32 ports", () =>
    Effect.gen(function*() {
      const handles = yield* Effect.forEach(
        numbers(32),
        () => Effect.flatMap(openGroup, (group) => group.publisher.connect(0, 1)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(handles.map(portOf)).size, 32)
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("an address of another machine fails with the system's words", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(openGroup)
      assert.deepStrictEqual([error._tag, error.where, error.issue], [
        "QueueError",
        "tcp://198.51.100.1:0",
        "Cannot assign requested address"
      ])
    }).pipe(Effect.provide(TcpQueues.layerWith({ host: "198.51.100.1" }))))

  it.live("an IPv6 address is bound and published in brackets", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      const handle = yield* group.publisher.connect(0, 1)
      assert.match(place(handle).address, /^tcp:\/\/\[::1\]:\d+$/)
      const rank = yield* attach(handle)
      group.publish(["hello"], 0)
      yield* until("it has come", () => rank.frames.length === 1)
    }).pipe(Effect.provide(TcpQueues.layerWith({ host: "::1" }))))

  it.live("only the host given is listened on", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      const port = portOf(yield* group.publisher.connect(0, 1))
      assert.strictEqual(yield* reached("127.0.0.1", port), "connected")
      assert.strictEqual(yield* reached("127.0.0.2", port), "ECONNREFUSED")
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("the host to be published may be another than the bound one", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      assert.match(place(yield* group.publisher.connect(0, 1)).address, /^tcp:\/\/gateway\.example:\d+$/)
    }).pipe(Effect.provide(TcpQueues.layerWith({ host: "localhost", advertise: "gateway.example" }))))

  it.live("every address at once is bound only with a host to publish", () =>
    Effect.gen(function*() {
      for (const host of ["0.0.0.0", "::"]) {
        const error = yield* Effect.flip(openGroup.pipe(Effect.provide(TcpQueues.layerWith({ host }))))
        assert.include(error.advice, "`advertise`")
      }
      const group = yield* openGroup.pipe(Effect.provide(TcpQueues.layerWith({ host: "0.0.0.0", advertise: "127.0.0.1" })))
      const rank = yield* attach(yield* group.publisher.connect(0, 1))
      group.publish(["hello"], 0)
      yield* until("it has come", () => rank.frames.length === 1)
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("without encryption only loopback addresses are bound", () =>
    Effect.gen(function*() {
      yield* Effect.acquireRelease(Effect.sync(() => capability.curve = false), () => Effect.sync(() => capability.curve = true))
      for (const host of ["198.51.100.1", "0.0.0.0"]) {
        const error = yield* Effect.flip(openGroup.pipe(Effect.provide(TcpQueues.layerWith({ host, advertise: "127.0.0.1" }))))
        assert.deepStrictEqual([error.operation, error.issue], ["bind", "this build of ZeroMQ cannot encrypt"])
      }
      const group = yield* openGroup
      const handle = yield* group.publisher.connect(0, 1)
      assert.isNull(place(handle).serverKey)
      const rank = yield* attach(handle)
      group.publish(["hello"], 0)
      yield* until("it has come", () => rank.frames.length === 1)
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("a handle that is not one of these queues is a QueueError", () =>
    Effect.gen(function*() {
      const group = yield* openGroup
      const { data, transport } = yield* group.publisher.connect(0, 1)
      for (
        const handle of [
          { transport: "shm", data },
          { transport, data: null },
          { transport, data: { ...place({ data, transport }), address: "http://127.0.0.1" } },
          { transport, data: { ...place({ data, transport }), requests: "short" } }
        ]
      ) {
        const error = yield* Effect.flip(attach(handle))
        assert.deepStrictEqual([error._tag, error.operation], ["QueueError", "attach to"])
      }
    }).pipe(Effect.provide(TcpQueues.layer)))
})

describe("queues over TCP, strangers", () => {
  it.live("MQ-4: random bytes on the port are counted and harm nobody", () =>
    Effect.gen(function*() {
      const { check, handle } = yield* busyGroup
      const before = yield* refused
      for (const n of numbers(8)) {
        const bytes = Buffer.from(numbers(2000).map((i) => (i * 7919 + n * 104729) >> 3))
        // Half of them begin as a ZeroMQ peer does.
        if (n % 2 === 0) bytes.set([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0])
        yield* say(portOf(handle), bytes)
        yield* check
      }
      assert.isAtLeast(yield* refused, before + 4)
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("a ZeroMQ peer without the group's key, or with another, is not heard", () =>
    Effect.gen(function*() {
      const { check, handle } = yield* busyGroup
      const before = yield* refused
      for (const key of [null, curveKeyPair().publicKey]) {
        const dealer = yield* stranger(place(handle).address, key, place(handle).requests)
        dealer.send(message(1, 1, 0, Buffer.from([0x91, 0x07]))).catch(() => {})
      }
      yield* Effect.repeat(refused, { until: (count) => count >= before + 2 })
      yield* check
    }).pipe(Effect.provide(TcpQueues.layer)))

  it.live("a holder of one rank's handle cannot speak as another rank", () =>
    Effect.gen(function*() {
      const { check, handle } = yield* busyGroup
      const before = yield* refused
      const dealer = yield* stranger(place(handle).address, place(handle).serverKey, "0".repeat(32))
      for (const n of numbers(10)) dealer.send(message(1, n + 1, 0)).catch(() => {})
      yield* Effect.repeat(refused, { until: (count) => count >= before + 1 })
      yield* check
    }).pipe(Effect.provide(TcpQueues.layer)))
})

/** A group with one rank that answers; `check` shows that it still does, and that nothing else was heard. */
const busyGroup = Effect.gen(function*() {
  const group = yield* openGroup
  const handle = yield* group.publisher.connect(0, 1)
  yield* attach(handle, (frame, subscriber) => subscriber().send(frame))
  let checks = 0
  const check = Effect.gen(function*() {
    group.publish([checks++], 0)
    yield* until("the rank answers", () => group.heard(0).length >= checks)
    assert.deepStrictEqual(group.heard(0).map((frame) => frame[0]), numbers(checks))
    assert.deepStrictEqual(group.lost, [])
  })
  return { group, handle, check }
})

/** A port of this machine on which somebody listens already. */
const listening = Effect.acquireRelease(
  Effect.callback<ReturnType<typeof createServer>>((resume) => {
    const server = createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close())
).pipe(Effect.map((server) => (server.address() as { port: number }).port))

/** Dials, and says what became of it. */
const reached = (host: string, port: number) =>
  Effect.callback<string>((resume) => {
    const socket = dial(port, host, () => {
      socket.destroy()
      resume(Effect.succeed("connected"))
    })
    socket.on("error", (error) => resume(Effect.succeed((error as NodeJS.ErrnoException).code ?? error.message)))
  })

/** Writes bytes to the port until the other side hangs up. */
const say = (port: number, bytes: Buffer) =>
  Effect.callback<void>((resume) => {
    const socket = dial(port, "127.0.0.1", () => socket.end(bytes))
    socket.resume()
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.void))
  })
