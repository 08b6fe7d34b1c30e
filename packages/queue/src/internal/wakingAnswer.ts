/** The program of a process that answers: hears its invitation from its parent, and ends with it. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import process from "node:process"
import * as Doorbell from "./doorbell.ts"
import { MappedMemory } from "./memory.ts"
import * as Segment from "./segment.ts"
import { answered, asked, askerParked, changes, Invitation, parked, segmentBytes } from "./wakingWords.ts"

const invited = Effect.callback<unknown>((resume) => {
  process.once("message", (message) => resume(Effect.succeed(message)))
}).pipe(Effect.flatMap(Schema.decodeUnknownEffect(Invitation)))

const answer = Effect.gen(function*() {
  const { askerBell, bell, folder, lookMillis, processes, rank, segment } = yield* invited
  const memory = new MappedMemory(yield* Segment.attach(folder, segment, segmentBytes(processes)))
  const asker = new Doorbell.Ringer(Doorbell.find(folder, askerBell), { memory, index: askerParked })
  const bed = new Doorbell.Bed({ memory, index: parked(rank) })
  let seen = 0
  const look = () => {
    for (;;) {
      const now = memory.load(asked)
      if (now !== seen) {
        seen = now
        memory.store(answered(rank), now)
        asker.wake()
      } else if (!changes(memory, asked, seen, lookMillis)) {
        bed.park(1)
        if (memory.load(asked) === seen) return
        bed.park(0)
      }
    }
  }
  yield* Doorbell.hang(folder, bell, look)
  look()
  process.send!("ready")
  return yield* Effect.callback<void>((resume) => {
    process.once("disconnect", () => resume(Effect.void))
  })
})

await Effect.runPromise(Effect.scoped(answer))
