/** Groups that change their size under load, with drivers that fall at any point of it and others that carry it on: `run` and `explain` by seed. */
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import type * as Draw from "@phalanx/core/testing/Draw"
import type * as Fault from "@phalanx/core/testing/Fault"
import * as Simulation from "@phalanx/core/testing/Simulation"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import { Journal } from "@phalanx/elastic/Journal"
import type { Request, Resizable } from "@phalanx/elastic/Resizable"
import * as ResizableGroup from "@phalanx/elastic/ResizableGroup"
import { Context, Effect, Fiber, Layer } from "effect"
import * as Digest from "effect/crypto/Digest"
import { createHash } from "node:crypto"
import * as journals from "./journal.ts"
import * as oracle from "./oracle.ts"
import { type Ledger, makeWorker, Seats } from "./seats.ts"

// A world hears no promise, and that of Web Crypto is the only one that a workflow waits for.
Object.assign(Digest.sha256, { implementation: (data: Uint8Array) => new Uint8Array(createHash("sha256").update(data).digest()) })

type Group = WorkerGroup.WorkerGroup<typeof Seats, "dp">
const most = 5

/** Where a driver falls: at a write of the journal, or so many of its turns into a part of an operation. */
type Point = `before ${number}` | `after ${number}` | Part
const parts = ["prepare", "copy", "ready", "commit", "retire", "abort"] as const
type Part = typeof parts[number]

const point = (draw: Draw.Draw): { readonly point: Point; readonly turns: number } => ({
  point: draw.chance(0.5)
    ? `${draw.pick(["before", "after"] as const)} ${draw.between(1, 24)}`
    : draw.pick([...parts, "prepare", "copy", "commit"]),
  turns: draw.pick([0, 1, 3, 10, 40, 200])
})

const policy = (draw: Draw.Draw): Supervision.Supervision<"dp"> => {
  switch (draw.weighted({ restart: 4, shrink: 1, escalate: 1 })) {
    case "restart":
      return Supervision.restart({ max: 100, per: "1 minute", backoff: draw.pick([1, 20]), calls: draw.pick(["wait", "fail"]) })
    case "shrink":
      return Supervision.shrink({ along: "dp" })
    case "escalate":
      return Supervision.escalate
  }
}

/** What a driver has, beside its group. */
interface Driving {
  readonly elastic: Elastic.Elastic["Service"]
  readonly resizable: Resizable["Service"]
}

const weights: Fault.Weights = {
  Kill: 3,
  Exit: 1,
  Freeze: 2,
  Block: 1,
  Slow: 2,
  Cut: 2,
  Part: 1,
  Delay: 2,
  NoSpawn: 1,
  NoSetup: 2,
  SlowSetup: 2,
  Stall: 1,
  Jump: 1
}

export const simulation: Simulation.Simulation<typeof Seats, "dp"> = Simulation.make("elastic", {
  protocol: Seats,
  meshes: [Mesh.make({ dp: 2 }), Mesh.make({ dp: 2 }), Mesh.make({ dp: 3 })],
  smaller: [Mesh.make({ dp: 1 })],
  steps: 14,
  faults: 2,
  kinds: weights,
  members: 4,
  spread: 320,
  keeps: true,
  play: ({ act, draw, fall, millis }) => {
    const ledger: Ledger = { lives: [], entries: [], order: 0 }
    const calls = new Map<number, oracle.Call>()
    const heard: Array<oracle.Heard> = []
    const wrong: Array<string> = []
    const supervision = policy(draw)
    const points = Array.from({ length: draw.pick([0, 1, 1, 2]) }, () => point(draw))
    const at = (here: Point): Effect.Effect<void> =>
      Effect.suspend(() => {
        const found = points.findIndex(({ point }) => point === here)
        if (found < 0) return Effect.void
        const [{ turns }] = points.splice(found, 1) as [typeof points[number]]
        if (!parts.includes(here as Part)) return fall("a write")
        // In the midst of it, or right after it.
        return Effect.asVoid(
          Effect.forkDetach(Effect.andThen(Effect.forEach(Array(turns), () => Effect.yieldNow, { discard: true }), fall(here)))
        )
      })
    const journal = journals.make(draw, at)
    const driving = new WeakMap<Group, Driving>()
    /** Calls of an operation have numbers behind those of steps. */
    let ownCalls = 1000
    let last: oracle.Last | undefined

    const within = <A, E>(part: Part, effect: Effect.Effect<A, E>): Effect.Effect<A, E> => Effect.andThen(at(part), effect)
    /** What the next epoch's members are brought, and whether they are who they should be. */
    const hooks = (group: Group): ResizableGroup.Hooks<typeof Seats, "dp"> => ({
      copy: (standby, { operation }) =>
        Effect.gen(function*() {
          const all = [...group.workers.map(({ id }) => id), ...standby.joining]
          const met = yield* standby.all.call.meet({ call: ownCalls++ })
          if (met.some(({ members }) => members.join() !== all.join())) {
            wrong.push(`GR-3: ${all} met as ${met.map(({ members }) => members)}`)
          }
          yield* standby.next.call.bring({ operation })
        }),
      commit: (standby, commit, { operation }) =>
        Effect.gen(function*() {
          const met = yield* standby.next.call.meet({ call: ownCalls++ })
          if (met.some(({ members }) => members.join() !== standby.members.join())) {
            wrong.push(`GR-3: ${standby.members}, who are next, met as ${met.map(({ members }) => members)}`)
          }
          yield* commit
          for (const member of standby.members) {
            const life = ledger.lives.findLast((life) => life.act === act() && life.member === member)
            if (life?.brought.has(operation) !== true) {
              wrong.push(`WF-10: ${operation} was committed, and member ${member} had not been brought it`)
            }
          }
          return 1
        }),
      forget: Effect.void
    })

    return {
      worker: makeWorker(ledger, act),
      options: { supervision, capacity: most + 2, heartbeat: false },
      begin: (group) =>
        Effect.gen(function*() {
          const made = ResizableGroup.make(group, hooks(group))
          const resizable: Resizable["Service"] = {
            ...made,
            prepare: (resize) => within("prepare", made.prepare(resize)),
            copy: (resize) => within("copy", made.copy(resize)),
            ready: (resize) => within("ready", made.ready(resize)),
            commit: (resize) => within("commit", made.commit(resize)),
            retire: (resize) => within("retire", made.retire(resize)),
            abort: (resize) => within("abort", made.abort(resize))
          }
          const services = yield* Layer.build(Elastic.layer.pipe(Layer.provide(Layer.succeed(Journal, journal.service))))
          const elastic = Context.get(services, Elastic.Elastic)
          driving.set(group, { elastic, resizable })
          yield* Effect.forkScoped(Effect.ignore(elastic.adopt(resizable)))
        }),
      end: (group) =>
        Effect.gen(function*() {
          const { elastic, resizable } = driving.get(group)!
          yield* Effect.ignore(elastic.adopt(resizable))
          last = { act: act(), group: group.name, ...(yield* resizable.serving) }
        }),
      step: (draw, index) => {
        const call = oracle.draw(draw, index, most)
        calls.set(index, call)
        const again = oracle.again(call)
        if (again !== undefined) calls.set(again.call, again)
        return {
          does: oracle.describe(call),
          run: (group) => {
            const { elastic, resizable } = driving.get(group)!
            const operation = `${act()}-${index}`
            if (call._tag === "Scale") {
              return Effect.suspend(() => {
                const ids = group.workers.map(({ id }) => id)
                const request: Request = call.leave ? { leave: [ids[call.size % ids.length]!] } : { to: { dp: call.size } }
                const scaling = Effect.exit(elastic.scale(resizable, { operation, deadline: call.deadline, ...request }))
                if (call.cancelAfter === undefined) return scaling
                return Effect.gen(function*() {
                  const fiber = yield* Effect.forkChild(scaling, { startImmediately: true })
                  yield* Effect.sleep(call.cancelAfter!)
                  yield* Effect.ignore(elastic.cancel(operation))
                  return yield* Fiber.join(fiber)
                })
              })
            }
            if (call._tag === "Try") {
              // Another size that is given up.
              return Effect.exit(Effect.scoped(Effect.andThen(group.prepare({ to: { dp: call.size } }), Effect.sleep(call.millis))))
            }
            const ask = (call: oracle.Ask) =>
              Effect.suspend(() => oracle.make(call, group, act(), millis(), (one) => heard.push({ ...one, ended: millis() })))
            return again === undefined ? ask(call) : Effect.andThen(ask(call), ask(again))
          }
        }
      },
      check: function*(run) {
        yield* wrong
        yield* oracle.check(run, { calls, heard, ledger, supervision, operations: [...journal.operations.values()], last })
      }
    }
  }
})

export const run = (seed: number): Simulation.Outcome => Simulation.run(simulation, seed)

export const explain = (seed: number): ReadonlyArray<string> => Simulation.explain(simulation, run(seed))
