import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Collectives } from "../Collectives.ts"
import * as Worker from "../Worker.ts"
import { Probe, Refused } from "./contractProtocol.ts"

export default Worker.make(
  Probe,
  Probe.toLayer(Effect.gen(function*() {
    const self = yield* Worker.Self
    const collectives = yield* Collectives
    const events: Array<string> = []
    const gates = new Map<string, Deferred.Deferred<void>>()
    const gate = (label: string): Deferred.Deferred<void> => {
      if (!gates.has(label)) gates.set(label, Deferred.makeUnsafe())
      return gates.get(label)!
    }
    let total = 0
    return Probe.of({
      add: ({ n }) => {
        events.push(`add ${n}`)
        return Effect.sync(() => total += n * self.rank)
      },
      whoami: () =>
        Effect.map(Effect.provideService(Worker.coordinates("dp", "tp"), Worker.Self, self), (at) => ({
          ...at,
          rank: self.rank,
          incarnation: self.incarnation,
          epoch: self.epoch
        })),
      refuse: ({ rank }) =>
        rank === self.rank
          ? Effect.fail(new Refused({ rank }))
          : Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => events.push("refuse interrupted")))),
      crash: ({ rank }) =>
        rank === self.rank
          ? Effect.sync(() => {
            throw new Error("boom")
          })
          : Effect.void,
      quit: () => Effect.interrupt,
      lie: () => Effect.succeed("not a number" as unknown as number),
      lieInError: () => Effect.fail({ _tag: "Refused", rank: "none" } as unknown as Refused),
      hold: ({ label }) => {
        events.push(`hold ${label}`)
        return Deferred.await(gate(label)).pipe(
          Effect.as(label),
          Effect.onInterrupt(() => Effect.sync(() => events.push(`interrupted ${label}`)))
        )
      },
      open: ({ label }) => Effect.asVoid(Deferred.succeed(gate(label), void 0)),
      count: ({ to }) =>
        Stream.range(1, to).pipe(
          Stream.rechunk(10),
          Stream.tap((n) => Effect.sync(() => events.push(`count ${n}`))),
          Stream.ensuring(Effect.sync(() => events.push("count ended")))
        ),
      echo: (value) => Effect.succeed(value),
      span: (_, { headers }) =>
        Effect.map(Effect.orDie(Effect.currentSpan), ({ parent, traceId }) => ({
          traceId,
          parent: parent._tag === "Some" ? parent.value._tag : "none",
          parentId: parent._tag === "Some" ? parent.value.spanId : "none",
          header: headers["x-tenant"] ?? ""
        })),
      meet: () => Effect.orDie(Effect.map(collectives.allGather(Uint8Array.of(self.rank)), (parts) => parts.map((part) => part[0]!))),
      log: () => Effect.sync(() => [...events]),
      forget: () =>
        Effect.sync(() => {
          events.length = 0
          gates.clear()
          total = 0
        })
    })
  }))
)
