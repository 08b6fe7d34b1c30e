/**
 * The contract of a group as cases that anyone who writes a `Cluster` or a `MessageQueues` can run against their layer, with any test runner:
 *
 * ```ts
 * for (const { name, run } of Contract.cases) it.live(name, () => run.pipe(Effect.provide(layer)))
 * ```
 *
 * A case starts a group of four of its own and ends it. Where that takes long, `layerShared` beside the layer under test lets cases have the same group one
 * after another: in the order of `cases`, one group is enough for all. A case dies with a sentence if the layer breaks
 * the rule that its label names (`SEMANTICS.md`).
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RpcClient from "effect/rpc/RpcClient"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type * as Cluster from "./Cluster.ts"
import * as internal from "./internal/contractGroup.ts"
import { sizes } from "./internal/contractSizes.ts"
import { equal, eventually } from "./internal/expecting.ts"
import { Kind } from "./internal/frame.ts"
import type { Frame, MessageQueues } from "./MessageQueues.ts"

/** What a case needs: the layer under test. */
export type Requirements = Cluster.Cluster | MessageQueues

/** A group that cases have one after another. */
export type Shared = internal.Shared

/** One rule, shown once. */
export interface Case {
  /** Label and sentence: `CO-2: a rank runs calls in the order made`. */
  readonly name: string
  readonly run: Effect.Effect<void, unknown, Requirements>
}

/** Lends one group to one case after another; starts another when a case has left one that the next cannot have, or has failed. Not for cases that run at once. */
export const layerShared: Layer.Layer<Shared, never, Requirements> = Layer.effect(internal.Shared, internal.makeShared)

/** The worker's module that the cases use: an entry for clusters that need a URL. */
export const entry: URL = internal.entry

const of = (name: string, body: internal.Body, use = internal.restoring): Case => ({ name, run: internal.anyGroup(body, use) })

const now = { startImmediately: true } as const
const ranks = [0, 1, 2, 3]
/** Open requests that a rank takes of a group that says nothing of it. */
const window = 64
/** No call of a case gets this id, and no group this mark. */
const unused = 1e9

/** A frame with one hole changed. */
const forged = (frame: Frame, hole: number, value: unknown): Frame => frame.with(hole, value)

/** Every rule of the contract that a healthy group can show: rows 1–3 and 6–9. */
export const cases: ReadonlyArray<Case> = [
  of(
    "CO-1: call answers once for every rank, in rank order",
    Effect.fnUntraced(function*(group) {
      equal(yield* group.call.add({ n: 2 }), [0, 2, 4, 6])
      equal(yield* group.call.add(({ coordinates, rank }) => ({ n: rank * 10 + coordinates.tp })), [0, 13, 44, 99])
      equal(
        yield* group.call.whoami(),
        ranks.map((rank) => ({ rank, dp: rank >> 1, tp: rank & 1, incarnation: 0, epoch: 0 }))
      )
    })
  ),
  of(
    "CO-1: replyFrom gives one rank's reply and runs on all",
    Effect.fnUntraced(function*(group) {
      equal(yield* group.call.add({ n: 1 }, { replyFrom: { dp: 1, tp: 1 } }), 3)
      equal(yield* group.call.add({ n: 0 }), ranks)
    })
  ),
  of(
    "CO-1: slices and single actors are addressed by coordinates or rank",
    Effect.fnUntraced(function*(group) {
      equal((yield* group.slice({ tp: 1 }).call.whoami()).map((_) => _.rank), [1, 3])
      equal((yield* group.slice({ dp: [1], tp: [0, 1] }).call.whoami()).map((_) => _.rank), [2, 3])
      equal((yield* group.at({ dp: 1, tp: 0 }).call.whoami()).rank, 2)
      equal((yield* group.slice({ dp: 1 }).at({ tp: 1 }).call.whoami()).rank, 3)
      equal((yield* group.at(1).call.whoami()).rank, 1)
    })
  ),
  of(
    "CO-1: a typed error names its rank and stops the other ranks",
    Effect.fnUntraced(function*(group) {
      const error = yield* Effect.flip(group.call.refuse({ rank: 2 }))
      equal([error.rank, error.method, error.reason._tag], [2, "refuse", "Refused"])
      // Those wait their turn, which the others' handlers would hold for ever.
      equal(yield* group.call.add({ n: 1 }), ranks)
    })
  ),
  of(
    "CO-1: exits waits for all and never fails; a defect is CallDefect of its rank alone",
    Effect.fnUntraced(function*(group) {
      const exits = yield* group.exits.crash({ rank: 3 })
      equal(exits.map((exit) => exit._tag), ["Success", "Success", "Success", "Failure"])
      const { reason } = yield* Effect.flip(exits[3]!)
      equal(reason._tag === "CallDefect" && String(reason.cause).includes("boom"), true)
      equal(yield* group.call.add({ n: 1 }), ranks)
    })
  ),
  of(
    "CO-1: a handler that gives itself up is CallInterrupted, not the caller's interruption",
    Effect.fnUntraced(function*(group) {
      const { reason } = yield* Effect.flip(group.at(0).call.quit())
      equal(reason._tag === "CallInterrupted" && reason.by, "worker")
    })
  ),
  of(
    "CO-1: stream gives replies with their place, and every element of a streaming method in order",
    Effect.fnUntraced(function*(group) {
      const replies = yield* Stream.runCollect(group.slice({ dp: 1 }).stream.add({ n: 1 }))
      equal([...replies].sort((a, b) => a.rank - b.rank), [
        { rank: 2, coordinates: { tp: 0 }, value: 2 },
        { rank: 3, coordinates: { tp: 1 }, value: 3 }
      ])
      const elements = yield* Stream.runCollect(group.stream.count({ to: 25 }))
      for (const rank of ranks) {
        equal(elements.filter((e) => e.rank === rank).map((e) => e.value), Array.from({ length: 25 }, (_, i) => i + 1))
      }
    })
  ),
  of(
    "CO-1: broadcast ends when the ranks have the request, before the work is done",
    Effect.fnUntraced(function*(group) {
      yield* group.broadcast.hold({ label: "b" })
      yield* eventually(group.call.log(), ranks.map(() => ["hold b"]))
      yield* group.call.open({ label: "b" })
      equal(yield* group.call.add({ n: 1 }), ranks)
    })
  ),
  of(
    "CO-1: rich payloads cross in both directions, bytes as bytes",
    Effect.fnUntraced(function*(group) {
      const value = { when: new Date(86_400_000), bytes: Uint8Array.from({ length: 100_000 }, (_, i) => i) }
      for (const reply of yield* group.call.echo(value)) {
        equal(reply.when, value.when)
        equal(reply.bytes.length === value.bytes.length && reply.bytes.every((byte, i) => byte === value.bytes[i]), true)
      }
    })
  ),
  of(
    "CO-1: headers and the span's context cross the wire",
    Effect.fnUntraced(function*(group) {
      yield* Effect.gen(function*() {
        const { spanId, traceId } = yield* Effect.orDie(Effect.currentSpan)
        const spans: Array<Tracer.Span> = []
        const tracer = Tracer.make({ span: (options) => spans[spans.push(new Tracer.NativeSpan(options)) - 1]! })
        const seen = yield* group.call.span().pipe(RpcClient.withHeaders({ "x-tenant": "t1" }), Effect.withTracer(tracer))
        // What the handlers did is told as the call's, and the call as its caller's.
        const call = spans.find(({ name }) => name === "call span")!
        equal(call.parent._tag === "Some" && call.parent.value.spanId, spanId)
        equal(seen, ranks.map(() => ({ traceId, parent: "ExternalSpan", parentId: call.spanId, header: "t1" })))
      }).pipe(Effect.withSpan("root"))
    })
  ),
  of(
    "CO-1: workers reach each other by collectives",
    Effect.fnUntraced(function*(group) {
      equal(yield* group.call.meet(), ranks.map(() => ranks))
      equal(yield* group.call.meet(), ranks.map(() => ranks))
    })
  ),
  of(
    "CO-2: a rank runs calls in the order made",
    Effect.fnUntraced(function*(group) {
      const slow = yield* Effect.forkChild(group.call.hold({ label: "o" }), now)
      const adds = yield* Effect.forkChild(Effect.forEach([1, 2, 3, 4], (n) => group.call.add({ n }), { concurrency: "unbounded" }), now)
      yield* eventually(group.at(1).call.log(), ["hold o"])
      yield* group.call.open({ label: "o" })
      yield* Fiber.join(slow)
      yield* Fiber.join(adds)
      equal(yield* group.at(1).call.log(), ["hold o", "add 1", "add 2", "add 3", "add 4"])
    })
  ),
  of(
    "CO-3: a timeout is its rank's alone, cancels the handler and shifts no later answer",
    Effect.fnUntraced(function*(group) {
      const before = yield* group.counters
      const exits = yield* group.fork.hold(({ rank }) => ({ label: rank === 2 ? "never" : "t" }), { timeout: "500 millis" }).pipe(
        Effect.tap(() => group.call.open({ label: "t" })),
        Effect.flatMap(Fiber.awaitAll)
      )
      equal(exits.map((exit) => exit._tag), ["Success", "Success", "Failure", "Success"])
      equal((yield* Effect.flip(exits[2]!)).reason._tag, "CallTimeout")
      equal(yield* group.call.add({ n: 1 }), ranks)
      yield* eventually(group.at(2).call.log(), ["hold never", "interrupted never", "add 1"])
      yield* eventually(Effect.map(group.counters, (counters) => counters.late - before.late), 1)
    })
  ),
  of(
    "CO-3: a doubled answer changes nothing and is counted",
    Effect.fnUntraced(function*(group, tap) {
      equal(yield* group.call.add({ n: 1 }), ranks)
      const before = yield* group.counters
      const { frame, rank } = tap.heard.findLast((_) => _.frame[0] === Kind.Success)!
      tap.driver.receive(rank, frame)
      equal((yield* group.counters).unexpected - before.unexpected, 1)
      equal(yield* group.call.add({ n: 1 }), [0, 2, 4, 6])
    })
  ),
  of(
    "CO-6: interrupting the caller cancels the handler on every rank",
    Effect.fnUntraced(function*(group) {
      const fiber = yield* Effect.forkChild(group.call.hold({ label: "i" }), now)
      yield* eventually(group.call.log(), ranks.map(() => ["hold i"]))
      yield* Fiber.interrupt(fiber)
      yield* eventually(group.call.log(), ranks.map(() => ["hold i", "interrupted i"]))
    })
  ),
  of(
    "CO-6: interrupting one fiber of fork cancels that rank alone; the caller's end cancels all",
    Effect.fnUntraced(function*(group) {
      const fibers = yield* group.fork.hold({ label: "f" })
      yield* eventually(group.call.log(), ranks.map(() => ["hold f"]))
      yield* Fiber.interrupt(fibers[2]!)
      yield* eventually(group.at(2).call.log(), ["hold f", "interrupted f"])
      yield* group.call.open({ label: "f" })
      equal(yield* Fiber.joinAll([fibers[0]!, fibers[1]!, fibers[3]!]), ["f", "f", "f"])
      const caller = yield* Effect.forkChild(Effect.andThen(group.fork.hold({ label: "g" }), Effect.never), now)
      yield* eventually(Effect.map(group.call.log(), (logs) => logs.map((log) => log.at(-1))), ranks.map(() => "hold g"))
      yield* Fiber.interrupt(caller)
      yield* eventually(Effect.map(group.call.log(), (logs) => logs.map((log) => log.at(-1))), ranks.map(() => "interrupted g"))
    })
  ),
  of(
    "CO-6: a reader that stops, stops the producers; other calls go on",
    Effect.fnUntraced(function*(group) {
      const before = yield* group.counters
      const first = yield* group.stream.count({ to: 100_000 }).pipe(Stream.take(5), Stream.runCollect)
      equal(first.length, 5)
      equal(yield* group.call.add({ n: 1 }), ranks)
      // A rank may be told to stop before it has begun; then it never does.
      yield* eventually(
        Effect.map(
          group.call.log(),
          (logs) => logs.every((log) => log.includes("count ended") || !log.some((line) => line.startsWith("count ")))
        ),
        true
      )
      for (const log of yield* group.call.log()) equal(log.length < 60, true)
      // What was told to stop answers all the same.
      yield* eventually(Effect.map(group.counters, (counters) => counters.late - before.late), ranks.length)
    })
  ),
  of(
    "CO-7: admission is per rank, in order, and holds back only calls that include the rank",
    Effect.fnUntraced(function*(group) {
      const held = yield* Effect.forkChild(group.at(3).call.hold({ label: "w" }), now)
      yield* eventually(group.at(3).call.log(), ["hold w"])
      const numbers = Array.from({ length: window + 2 }, (_, i) => i)
      const waiting = yield* Effect.forEach(numbers, (n) => Effect.forkChild(group.at(3).call.add({ n }), now))
      const all = yield* Effect.forkChild(group.call.add({ n: 6 }), now)
      equal(yield* group.slice({ dp: 0 }).call.add({ n: 1 }), [0, 7])
      equal(all.pollUnsafe(), undefined)
      // The window is full: a control frame is not held back by it.
      yield* Fiber.interrupt(held)
      const sums = numbers.map((n) => 3 * (n * (n + 1) / 2))
      equal(yield* Fiber.joinAll(waiting), sums)
      equal(yield* Fiber.join(all), [0, 6, 12, sums.at(-1)! + 18])
    })
  ),
  of(
    "CO-7: a request larger than a rank's window is refused with both sizes and leaves the rank usable",
    Effect.fnUntraced(function*(group) {
      const error = yield* Effect.flip(group.call.echo({ when: new Date(0), bytes: new Uint8Array(50 * 1024 * 1024) }))
      equal(error.reason._tag === "CallRejected" && error.reason.side === "driver", true)
      equal(String(error.reason).includes("16777216"), true)
      equal(yield* group.call.add({ n: 1 }), ranks)
    })
  ),
  of(
    "CO-8: an answer of another group, epoch, rank or incarnation changes nothing and is counted",
    Effect.fnUntraced(function*(group, tap) {
      yield* group.at(1).call.add({ n: 1 })
      const { frame } = tap.heard.findLast((_) => _.frame[0] === Kind.Success)!
      const fiber = yield* Effect.forkChild(group.at(1).call.hold({ label: "s" }), now)
      yield* eventually(group.at(1).call.log(), ["add 1", "hold s"])
      const before = yield* group.counters
      // The id of the call that waits: what is refused here would otherwise be its answer.
      const answer = forged(forged(frame, 5, (frame[5] as number) + 1), 6, "forged")
      tap.driver.receive(1, forged(answer, 1, unused))
      tap.driver.receive(1, forged(answer, 2, 7))
      tap.driver.receive(1, forged(answer, 3, 2))
      tap.driver.receive(1, forged(answer, 4, 9))
      equal((yield* group.counters).fenced - before.fenced, 4)
      yield* group.at(1).call.open({ label: "s" })
      equal(yield* Fiber.join(fiber), "s")
    })
  ),
  of(
    "CO-8: a request or interrupt of another group, epoch or incarnation is not run",
    Effect.fnUntraced(function*(group, tap) {
      yield* group.at(0).call.add({ n: 1 })
      const fence = tap.heard.findLast((_) => _.frame[0] === Kind.Success)!.frame
      const fiber = yield* Effect.forkChild(group.at(0).call.hold({ label: "q" }), now)
      yield* eventually(group.at(0).call.log(), ["add 1", "hold q"])
      // The call that waits is the next after the one that was answered.
      const interrupts = [0, 1, 2, 3].map((after) => [Kind.Interrupt, fence[1], fence[2], 0, (fence[5] as number) + after])
      for (const interrupt of interrupts) {
        tap.publisher.control(0, forged(interrupt, 1, unused))
        tap.publisher.control(0, forged(interrupt, 2, 5))
        tap.publisher.control(0, forged(interrupt, 3, 4))
      }
      tap.publisher.publish(tap.publisher.pack([Kind.Request, unused, 0, 0, unused, "add", { n: 1 }, -1, null, null, 0, -1]), [0])
      equal(yield* group.at(0).call.log(), ["add 1", "hold q"])
      yield* group.at(0).call.open({ label: "q" })
      equal(yield* Fiber.join(fiber), "q")
      equal(yield* group.at(0).call.log(), ["add 1", "hold q"])
    })
  ),
  of(
    "CO-9: a payload that does not fit is a typed error of that call alone",
    Effect.fnUntraced(function*(group) {
      const error = yield* Effect.flip(group.call.add({ n: 1.5 }))
      equal(error.reason._tag === "CallRejected" && error.reason.side === "driver", true)
      const thrown = yield* Effect.exit(group.call.add(({ rank }) => {
        if (rank === 2) throw new Error("no payload for you")
        return { n: rank }
      }))
      equal(Exit.isFailure(thrown) && String(thrown.cause).includes("no payload for you"), true)
      equal((yield* group.call.add({ n: 0 })).length, 4)
    })
  ),
  of(
    "CO-9: a payload that the worker cannot decode, and a method it does not have, are typed errors of that call alone",
    Effect.fnUntraced(function*(group, tap) {
      yield* group.at(0).call.add({ n: 0 })
      const { frame } = tap.heard.findLast((_) => _.frame[0] === Kind.Success)!
      const answers: Array<Frame> = []
      const send = (id: number, method: string, payload: unknown) => {
        tap.publisher.publish(tap.publisher.pack([Kind.Request, frame[1], 0, 0, id, method, payload, -1, null, null, 0, -1]), [0])
        return eventually(
          Effect.sync(() => {
            const answer = tap.heard.find((_) => _.frame[5] === id && _.frame[0] === Kind.Rejected)
            if (answer !== undefined) answers.push(answer.frame)
            return answer !== undefined
          }),
          true
        )
      }
      yield* send(unused, "add", { n: "one" })
      yield* send(unused + 1, "nothing", null)
      equal(String(answers[0]![6]).includes("add") && String(answers[1]![6]).includes("no method nothing"), true)
    })
  ),
  of(
    "CO-9: a reply, and an error, that does not fit is a typed error of that call alone",
    Effect.fnUntraced(function*(group) {
      for (const call of [group.at(1).call.lie(), group.at(1).call.lieInError()]) {
        const error = yield* Effect.flip(
          call as Effect.Effect<unknown, { readonly reason: { readonly _tag: string; readonly side?: string } }>
        )
        equal([error.reason._tag, error.reason.side], ["CallRejected", "worker"])
      }
      equal(yield* group.at(1).call.add({ n: 1 }), 1)
    })
  ),
  ...sizes.map(([name, body, use]) => of(name, body, use)),
  of(
    "CO-1: a worker that dies fails its rank's calls with WorkerDied, later ones at once, and the group once",
    Effect.fnUntraced(function*(group) {
      const there = group.workers.map(({ rank }) => rank)
      const fibers = yield* group.fork.hold({ label: "d" })
      yield* eventually(group.call.log(), there.map(() => ["hold d"]))
      yield* group.kill(1)
      const error = yield* Effect.flip(Fiber.join(fibers[1]!))
      equal([error.rank, error.reason._tag], [1, "WorkerDied"])
      if (error.reason._tag === "WorkerDied") {
        equal([error.reason.death, error.reason.method], [{ _tag: "Killed", signal: "SIGKILL" }, "hold"])
      }
      const late = yield* Effect.flip(group.failure)
      equal(late.rank, 1)
      const told = yield* Stream.runCollect(Stream.take(group.deaths, 1))
      equal(told.map((died) => died.rank), [1])
      const others = there.filter((rank) => rank !== 1)
      for (const rank of others) yield* group.at(rank).call.open({ label: "d" })
      equal(yield* Fiber.joinAll(others.map((rank) => fibers[rank]!)), others.map(() => "d"))
      equal((yield* Effect.flip(group.call.whoami())).reason._tag, "WorkerDied")
    }),
    { takes: ["new", "grown"], leaves: "bereft" }
  ),
  of(
    "CO-9: a malformed frame ends that worker's part alone",
    Effect.fnUntraced(function*(group, tap) {
      tap.driver.receive(group.workers[2]!.id, ["junk"])
      const [died] = yield* Stream.runCollect(Stream.take(Stream.filter(group.deaths, ({ rank }) => rank === 2), 1))
      equal(died!.death._tag, "Disconnected")
      for (const rank of [0, 3]) equal(yield* group.at(rank).call.add({ n: 1 }), rank)
      equal((yield* Effect.flip(group.at(2).call.whoami())).reason._tag, "WorkerDied")
    }),
    { takes: ["new", "grown", "bereft"], leaves: undefined }
  )
]
