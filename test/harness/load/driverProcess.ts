/**
 * The driver of the groups that chaos is brought to: one over shared memory, one over TCP through relays that can be cut. It does what it is ordered to, and
 * says what it does. Arguments: the groups as JSON.
 */
import * as Cluster from "@phalanx/core/Cluster"
import * as Mesh from "@phalanx/core/Mesh"
import { type Handle, MessageQueues } from "@phalanx/core/MessageQueues"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as TcpQueues from "@phalanx/queue/TcpQueues"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { spawnSync } from "node:child_process"
import process from "node:process"
import { Random } from "../random.ts"
import * as calls from "./calls.ts"
import type { Setting } from "./driver.ts"
import { Load } from "./protocol.ts"
import { type Order, report } from "./report.ts"

const setting: Setting = JSON.parse(process.argv[2]!)
const orders = Queue.unbounded<Order>().pipe(Effect.runSync)
process.on("message", (order: Order) => void Queue.offerUnsafe(orders, order))
// Whoever ordered is gone.
process.on("disconnect", () => process.exit())

/** Has the connections of each rank go through a relay of its own. */
const relayed = (group: string, relays: ReadonlyArray<number>) =>
  Layer.effect(
    MessageQueues,
    Effect.map(MessageQueues, (queues) => {
      const divert = (handle: Handle, rank: number): Handle => {
        const { address, ...data } = handle.data as { readonly address: string }
        report({ _tag: "Bound", group, port: Number(address.slice(address.lastIndexOf(":") + 1)) })
        return { ...handle, data: { ...data, address: `tcp://127.0.0.1:${relays[rank]}` } }
      }
      return MessageQueues.of({
        ...queues,
        open: (options) =>
          Effect.map(queues.open(options), (publisher) => ({
            ...publisher,
            connect: (rank, incarnation) => Effect.map(publisher.connect(rank, incarnation), (handle) => divert(handle, rank))
          }))
      })
    })
  )

/** What a driver opens once and keeps: sockets' threads, libraries, what hears of children. */
const warmUp = Effect.gen(function*() {
  spawnSync(process.execPath, ["-e", ""])
  for (const queues of [ShmQueues.layer, TcpQueues.layer]) {
    yield* WorkerGroup.make(Load, { mesh: Mesh.make({ rank: 2 }), entry: new URL("./worker.ts", import.meta.url), name: "warm-up" }).pipe(
      Effect.flatMap((group) => calls.round(calls.whole("warm-up", group))),
      Effect.scoped,
      Effect.provide(Layer.provideMerge(Cluster.layerFibers, queues))
    )
  }
})

const start = Effect.fnUntraced(function*({ name, ranks, relays }: Setting["groups"][number]) {
  const processes = NodeCluster.layerWith({ transport: relays === undefined ? "shm" : "tcp", output: "ignore" })
  const group = yield* WorkerGroup.make(Load, {
    mesh: Mesh.make({ rank: ranks }),
    entry: new URL("./worker.ts", import.meta.url),
    name,
    // As many deaths as there are faults, and soon forgotten.
    supervision: Supervision.restart({ max: 1_000_000, per: "500 millis", backoff: "20 millis" }),
    heartbeat: setting.heartbeat
  }).pipe(Effect.provide(relays === undefined ? processes : Layer.provideMerge(relayed(name, relays), processes)))
  yield* group.events.pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        if (event._tag === "Restarted") report({ _tag: "Restarted", group: name, rank: event.rank })
        if (event._tag === "Died") {
          report({ _tag: "Died", reason: event.died.death._tag === "Unstarted" ? "not started" : event.died.reason })
        }
      })
    ),
    Effect.forkScoped
  )
  return [name, group] as const
})

/** Asked for a while, every worker has slept and been woken, so that all that a driver opens when it first needs it is open. */
const settle = (groups: ReadonlyMap<string, calls.Group>) =>
  Effect.forEach(groups, ([name, group]) => calls.round(calls.whole(name, group)), { concurrency: "unbounded", discard: true }).pipe(
    Effect.delay("100 millis"),
    Effect.repeat({ times: 3 })
  )

const program = Effect.gen(function*() {
  yield* warmUp
  report({ _tag: "Stage", stage: "loaded" })
  yield* Queue.take(orders)
  yield* Effect.scoped(Effect.gen(function*() {
    const groups = new Map(yield* Effect.forEach(setting.groups, start, { concurrency: "unbounded" }))
    yield* settle(groups)
    report({ _tag: "Stage", stage: "up" })

    let goesOn = true
    const running: Array<Fiber.Fiber<void>> = []
    const watches: Array<Fiber.Fiber<void>> = []
    const run = (effect: Effect.Effect<void>) => Effect.map(Effect.forkScoped(effect), (fiber) => void running.push(fiber))
    /** Calls again and again, with a short rest each time. */
    const caller = (make: (random: Random) => Effect.Effect<void>) => {
      const random = new Random(setting.seed + running.length)
      const loop = Effect.suspend(() => Effect.delay(make(random), random.between(0, setting.pause)))
      return run(Effect.asVoid(Effect.repeat(loop, { while: () => goesOn })))
    }
    const load = Effect.fnUntraced(function*(name: string, group: calls.Group) {
      const everybody = calls.whole(name, group)
      yield* caller(() => calls.meet(everybody))
      for (let count = 0; count < setting.callers; count++) yield* caller((random) => calls.any(everybody, random))
      // Ranks that live are asked however long others take.
      for (const rank of group.mesh.ranks) {
        const alone = calls.part(name, group, [rank])
        for (let count = 0; count < setting.callers; count++) yield* caller((random) => calls.any(alone, random))
        watches.push(yield* Effect.forkScoped(Effect.forever(calls.watch(alone))))
      }
    })
    for (let order = yield* Queue.take(orders); order._tag !== "Quiet"; order = yield* Queue.take(orders)) {
      switch (order._tag) {
        case "Load":
          yield* Effect.forEach(groups, ([name, group]) => load(name, group), { discard: true })
          break
        case "BlockLoop":
          yield* run(calls.block(calls.part(order.group, groups.get(order.group)!, [order.rank]), order.millis, order.spins))
          break
        case "SlowReader": {
          const group = groups.get(order.group)!
          yield* run(
            calls.dawdle(calls.part(order.group, group, [order.rank]), calls.whole(order.group, group), order.millis, order.nap)
          )
        }
      }
    }
    goesOn = false
    yield* Fiber.awaitAll(running)
    yield* Fiber.interruptAll(watches)
    yield* settle(groups)
    for (const group of groups.values()) {
      for (const [, stats] of yield* group.stats) report({ _tag: "Lapped", times: stats["laps"] ?? 0 })
    }
    report({ _tag: "Stage", stage: "quiet" })
    yield* Queue.take(orders)
  }))
  report({ _tag: "Stage", stage: "ended" })
  yield* Queue.take(orders)
})

Effect.runFork(program).addObserver((exit) => {
  if (exit._tag === "Failure") process.stderr.write(`${exit.cause}\n`)
  process.exit(exit._tag === "Success" ? 0 : 1)
})
