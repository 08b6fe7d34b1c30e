import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import { type Handle, MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { hostname } from "node:os"
import * as Relay from "../../../test/harness/relay.ts"
import { Odd } from "./fixtures/oddProtocol.ts"
import { start } from "./fixtures/start.ts"
import { eventually, lives } from "./fixtures/system.ts"

type Started = Effect.Success<ReturnType<typeof start>>

/** The death in which a call to a group of one ends. */
const deathIn = (
  call: (started: Started) => Effect.Effect<unknown, { readonly reason: unknown }>,
  options?: Parameters<typeof start>[1]
) =>
  Effect.scoped(Effect.gen(function*() {
    const started = yield* start(1, options)
    const { reason } = yield* Effect.flip(call(started))
    const died = yield* Effect.flip(started.group.failure)
    assert.strictEqual(reason, died)
    return died
  }))

/** Queues whose workers come by way of a relay, and whose driver waits for them for a moment. */
const relayed = (relay: Relay.Relay) =>
  Layer.effect(
    MessageQueues,
    Effect.map(MessageQueues, (queues) => {
      const divert = (handle: Handle): Handle => {
        const { address, ...data } = handle.data as { readonly address: string }
        relay.lead(Number(address.slice(address.lastIndexOf(":") + 1)))
        return { ...handle, data: { ...data, address: `tcp://127.0.0.1:${relay.port}` } }
      }
      return MessageQueues.of({
        ...queues,
        open: (options) =>
          Effect.map(queues.open(options), (publisher) => ({
            ...publisher,
            connect: (rank, incarnation) => Effect.map(publisher.connect(rank, incarnation), divert)
          }))
      })
    })
  ).pipe(Layer.provide(TcpQueues.layerWith({ deadline: "300 millis" })))

describe("a worker's death", () => {
  it.live("CO-4: SIGKILL in a call fails it with pid, signal, method, the last of standard error and of what it did, and the group once", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group, pids, said } = yield* start(2)
      const stderr = Array.from({ length: 25 }, (_, i) => `line ${i}`)
      const calledAt = performance.now()
      const calls = yield* group.fork.hold({ stderr })
      yield* eventually("rank 1 holds", () => said(1, "line 24"))
      process.kill(pids[1]!, "SIGKILL")
      const error = yield* Effect.flip(Fiber.join(calls[1]!))
      const died = error.reason
      assert.strictEqual(died._tag, "WorkerDied")
      if (died._tag !== "WorkerDied") return
      assert.isAtLeast(died.ageMillis!, 0)
      assert.isBelow(died.ageMillis!, performance.now() - calledAt)
      assert.deepStrictEqual([died.rank, died.pid, died.incarnation, died.method], [1, pids[1], 0, "hold"])
      assert.deepStrictEqual(died.death, { _tag: "Killed", signal: "SIGKILL" })
      assert.deepStrictEqual(died.stderr, stderr.slice(5))
      assert.match(
        died.message,
        /rank 1 \(rank 1, .*pid \d+, incarnation 0\) is gone while it ran hold, asked for \d+ ms ago: SIGKILL\n {2}line 5/
      )
      assert.deepStrictEqual([died.reason, died.node, died.coordinates], ["signal", hostname(), { rank: 1 }])
      // A death is remembered: a stack would hold the life of which it tells.
      assert.notInclude(died.stack, "\n    at ")
      // What it did last is read from what it has left, although it had no time to say anything.
      assert.deepStrictEqual(died.flight.map(({ kind, text }) => `${kind} ${text}`.trim()), ["import", "setup", "ready", "request hold"])
      assert.isTrue(died.flight.every(({ at }) => Math.abs(Date.now() - at) < 60_000))
      assert.strictEqual(yield* Effect.flip(group.failure), died)
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(group.deaths, 1)), [died])
      // The other one lives and serves.
      yield* group.at(0).broadcast.print({ stream: "stdout", text: "" })
      assert.isTrue(lives(pids[0]!))
    })))

  it.live("CO-1: a driver that sleeps until the last reply wakes for a new call, a timeout and a death before it", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group, pids, said } = yield* start(3, { heartbeat: false })
      const say = (text: string) => ({ stream: "stdout", text: `${text}\n` }) as const
      const tags = (exits: ReadonlyArray<Exit.Exit<unknown, { readonly reason: { readonly _tag: string } }>>) =>
        Effect.forEach(
          exits,
          (exit) => exit._tag === "Success" ? Effect.succeed("replied") : Effect.map(Effect.flip(exit), (_) => _.reason._tag)
        )
      yield* group.call.print(say("all"))
      for (const pid of pids.slice(1)) process.kill(pid, "SIGSTOP")
      const slow = yield* Effect.forkChild(group.exits.print(say("slow")), { startImmediately: true })
      yield* eventually("rank 0 has answered the slow call", () => said(0, "slow"))
      yield* group.at(0).call.print(say("new"))
      assert.isUndefined(slow.pollUnsafe())
      process.kill(pids[0]!, "SIGSTOP")
      const timed = yield* Effect.forkChild(group.exits.print(say("timed"), { timeout: "1 second" }), { startImmediately: true })
      // A timer's turn: by then the driver sleeps.
      yield* Effect.timeoutOption(Effect.never, "20 millis")
      process.kill(pids[0]!, "SIGCONT")
      assert.deepStrictEqual(yield* tags(yield* Fiber.join(timed)), ["replied", "CallTimeout", "CallTimeout"])
      const last = yield* Effect.forkChild(group.exits.print(say("last")), { startImmediately: true })
      yield* eventually("rank 0 has answered the last call", () => said(0, "last"))
      for (const pid of pids.slice(1)) process.kill(pid, "SIGKILL")
      for (const fiber of [slow, last]) {
        assert.deepStrictEqual(yield* tags(yield* Fiber.join(fiber)), ["replied", "WorkerDied", "WorkerDied"])
      }
    })))

  it.live("CO-4 SU-5: a closed connection is told as what it is, and so is a restart whose layer fails", () =>
    Effect.scoped(Effect.gen(function*() {
      const relay = yield* Relay.make
      const processes = NodeCluster.layerWith({ transport: "tcp", output: "ignore", env: { ODD_MORTAL: "yes" } })
      const group = yield* WorkerGroup.make(Odd, {
        mesh: Mesh.make({ rank: 1 }),
        entry: new URL("./fixtures/odd.ts", import.meta.url),
        supervision: Supervision.restart({ max: 1, per: "1 minute" }),
        heartbeat: false
      }).pipe(Effect.provide(Layer.provideMerge(relayed(relay), processes)))
      const { pid } = group.workers[0]!
      yield* group.call.print({ stream: "stdout", text: "" })
      const call = yield* Effect.forkChild(Effect.flip(group.call.hold({ stderr: [] })), { startImmediately: true })
      const cut = yield* Effect.forkChild(relay.cutSocket(60_000), { startImmediately: true })
      const { reason: died } = yield* Fiber.join(call)
      yield* Fiber.interrupt(cut)
      assert(died._tag === "WorkerDied" && died.death._tag === "Disconnected")
      assert.deepStrictEqual([died.reason, died.pid, died.node, died.method, died.incarnation], [
        "disconnected",
        pid,
        hostname(),
        "hold",
        0
      ])
      assert.match(died.death.issue, /no connection for/)
      yield* eventually("it is ended although it lived", () => !lives(pid!))
      const failed = yield* Effect.flip(group.failure)
      assert.deepStrictEqual([failed.reason, failed.incarnation, failed.stderr.at(-1)], ["setup", 1, "one life is enough"])
      assert(failed.death._tag === "Unstarted")
      assert.match(failed.death.issue, /^setup: there is no second life/)
    })))

  it.live("CO-4: an exit is told with its code", () =>
    Effect.gen(function*() {
      const died = yield* deathIn(({ group }) => group.call.exit({ code: 3 }))
      assert.deepStrictEqual(died.death, { _tag: "Exited", code: 3 })
    }))

  it.live("CO-4: what nobody caught ends the worker with code 1, its stack on standard error", () =>
    Effect.gen(function*() {
      for (const [method, reason] of [["throwLater", "uncaught-exception"], ["rejectLater", "unhandled-rejection"]] as const) {
        const died = yield* deathIn(({ group }) => group.call[method]())
        assert.deepStrictEqual([died.death, died.reason, died.method], [{ _tag: "Exited", code: 1 }, reason, method])
        assert.match(died.stderr.join("\n"), /Error: nobody (?:catches|awaits) this\n +at .*fixtures\/odd\.ts:\d+/)
      }
    }))

  it.live("CO-4: a full heap is told as what it is", () =>
    Effect.gen(function*() {
      const died = yield* deathIn(({ group }) => group.call.fillHeap(), { execArgv: ["--max-old-space-size=48"] })
      assert.deepStrictEqual([died.death, died.reason], [{ _tag: "Killed", signal: "SIGABRT" }, "out-of-memory"])
    }))

  it.live("HB-1: a frozen process is found at its deadline, on a busy machine within four times that, whatever it was doing", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group, pids } = yield* start(2, { heartbeat: { every: "100 millis", frozen: "500 millis" } })
      const call = yield* Effect.forkChild(Effect.flip(group.at(0).call.hold({ stderr: [] })), { startImmediately: true })
      const frozenAt = performance.now()
      process.kill(pids[0]!, "SIGSTOP")
      const { reason } = yield* Fiber.join(call)
      const took = performance.now() - frozenAt
      assert(reason._tag === "WorkerDied" && reason.death._tag === "Silent")
      assert.deepStrictEqual([reason.reason, reason.death.state, reason.method], ["frozen", "frozen", "hold"])
      assert.isAtLeast(reason.death.millis, 500)
      // The fifth is shown where time is simulated.
      assert.isBelow(took, 2000)
      yield* eventually("it is ended although it is stopped", () => !lives(pids[0]!))
      assert.isTrue(lives(pids[1]!))
    })))

  it.live("HB-2: a worker that computes without end is told as unresponsive with its method, and dead at the deadline for that", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group } = yield* start(1, { heartbeat: { every: "50 millis", frozen: "200 millis", unresponsive: "600 millis" } })
      const call = yield* Effect.forkChild(Effect.flip(group.call.spin()), { startImmediately: true })
      const [told] = yield* Stream.runCollect(Stream.take(Stream.filter(group.events, ({ _tag }) => _tag === "Unresponsive"), 1))
      assert(told?._tag === "Unresponsive")
      assert.deepStrictEqual([told.rank, told.method], [0, "spin"])
      assert.isAtLeast(told.ageMillis!, 200)
      assert.strictEqual(call.pollUnsafe(), undefined)
      const { reason } = yield* Fiber.join(call)
      assert(reason._tag === "WorkerDied" && reason.death._tag === "Silent")
      assert.deepStrictEqual([reason.reason, reason.death.state], ["unresponsive", "unresponsive"])
    })))

  it.live("CO-4: SIGTERM from outside ends a worker in order and is told as what it was, although another process still holds its standard error", () =>
    Effect.scoped(Effect.gen(function*() {
      const { group, pids, said } = yield* start(1)
      const holder = yield* Effect.acquireRelease(
        group.at(0).call.start({ detached: true }),
        (pid) => Effect.sync(() => process.kill(pid, "SIGKILL"))
      )
      process.kill(pids[0]!, "SIGTERM")
      const died = yield* Effect.flip(group.failure)
      assert.deepStrictEqual(died.death, { _tag: "Killed", signal: "SIGTERM" })
      assert.isTrue(said(0, "finalized"))
      assert.isTrue(lives(holder))
    })))
})
