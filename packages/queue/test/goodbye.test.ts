import { assert, describe, it } from "@effect/vitest"
import { MessageQueues } from "@phalanx/core/MessageQueues"
import * as ShmQueues from "@phalanx/queue/ShmQueues"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import * as Hosts from "../src/internal/host.ts"
import type { Memory } from "../src/internal/memory.ts"

/** More loads than one look takes. */
const moments = Array.from({ length: 24 }, (_, index) => index)

/** A process of its own, in the midst of whose looking, after so many loads, something happens. */
const watching = Effect.fnUntraced(function*(moment: number) {
  const { machine } = yield* Hosts.Host
  const armed: { happen?: () => void } = {}
  let loads = 0
  const watched = (memory: Memory): Memory =>
    Object.assign(Object.create(memory), {
      load: (word: number) => {
        const { happen } = armed
        if (happen !== undefined && loads++ === moment) {
          delete armed.happen
          happen()
        }
        return memory.load(word)
      }
    })
  const host = Hosts.make({
    ...machine,
    create: (...file) => Effect.map(machine.create(...file), watched),
    attach: (...file) => Effect.map(machine.attach(...file), watched)
  })
  return { host, armed }
})

/** A group of one rank, both ends in this process: one of them watched, and what it hears. */
const group = Effect.fnUntraced(function*(watched: "driver" | "rank", moment: number) {
  const queues = yield* MessageQueues
  const { armed, host } = yield* watching(moment)
  const heard: Array<unknown> = []
  const at = (end: typeof watched) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    end === watched ? Effect.provideService(effect, Hosts.Host, host) : effect
  const hear = (end: typeof watched, what: unknown): void => void (end === watched && heard.push(what))
  const publisher = yield* at("driver")(queues.open({
    group: "goodbye",
    secret: randomBytes(16).toString("hex"),
    ranks: 1,
    receive: (_, [word]) => hear("driver", word),
    lost: () => hear("driver", "lost"),
    fenced: () => hear("driver", "fenced")
  }))
  const handle = yield* publisher.connect(0, 0)
  const scope = yield* Scope.fork(yield* Effect.scope)
  const subscriber = yield* at("rank")(queues.attach(handle, {
    receive: ([word]) => hear("rank", word),
    lost: () => hear("rank", "lost")
  })).pipe(Scope.provide(scope))
  return { armed, heard, publisher, subscriber, leave: Scope.close(scope, Exit.void) }
})

describe("an end that says something and closes its lanes while the other one looks into them", () => {
  it.live("MQ-1: a rank hears its driver before the goodbye, at whichever moment", () =>
    Effect.gen(function*() {
      for (const moment of moments) {
        const { armed, heard, publisher } = yield* group("rank", moment)
        armed.happen = () => {
          publisher.control(0, ["last"])
          publisher.disconnect(0)
        }
        while (heard.at(-1) !== "lost") {
          publisher.control(0, ["word"])
          yield* Effect.yieldNow
        }
        assert.deepStrictEqual(heard.slice(-2), ["last", "lost"], `after ${moment} loads`)
      }
    }).pipe(Effect.scoped, Effect.provide(ShmQueues.layer)))

  it.live("MQ-1: a driver hears a rank before it has left, at whichever moment", () =>
    Effect.gen(function*() {
      for (const moment of moments) {
        const { armed, heard, leave, subscriber } = yield* group("driver", moment)
        armed.happen = () => {
          subscriber.send(["last"])
          Effect.runFork(leave)
        }
        while (heard.length === 0 || heard.at(-1) === "word") {
          subscriber.send(["word"])
          yield* Effect.yieldNow
        }
        assert.strictEqual(heard.at(-1), "last", `after ${moment} loads`)
      }
    }).pipe(Effect.scoped, Effect.provide(ShmQueues.layer)))
})
