/**
 * What waking up costs: round trips between this process and others over nothing but a counter in shared memory, with each process's doorbell
 * for when the other sleeps. The floor under every number of `@phalanx/queue`; no frames, no codec.
 *
 *     node packages/bench/src/probes/waking.ts [round trips]
 *
 * `asleep`: whoever waits has parked, and every hand-over goes through a doorbell unless it wins the race. `awake`: one process looks for up to
 * 100 microseconds before it parks. Fan-outs to 4 and 8 processes never look: they are more than most machines' processors.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { fork } from "node:child_process"
import process from "node:process"
import * as Doorbell from "../../../queue/src/internal/doorbell.ts"
import { MappedMemory } from "../../../queue/src/internal/memory.ts"
import * as Segment from "../../../queue/src/internal/segment.ts"

const line = 16
const asked = 0
const askerParked = line
const answered = (rank: number) => line * (2 + 2 * rank)
const parked = (rank: number) => line * (3 + 2 * rank)
const bytes = 4096

const Invitation = Schema.Struct({
  segment: Schema.String,
  askerBell: Schema.String,
  bell: Schema.String,
  rank: Schema.Int,
  lookMicros: Schema.Number
})
type Invitation = typeof Invitation.Type

/** Looks at a word for so long; whether it came to hold something else. */
const changes = (memory: MappedMemory, word: number, from: number, micros: number): boolean => {
  const end = performance.now() + micros / 1000
  do {
    if (memory.load(word) !== from) return true
  } while (performance.now() < end)
  return false
}

const answer = Effect.fnUntraced(function*(invitation: Invitation) {
  const { rank } = invitation
  const memory = new MappedMemory(yield* Segment.attach(Segment.defaultFolder, invitation.segment, bytes))
  const asker = new Doorbell.Ringer(Segment.defaultFolder, invitation.askerBell, { memory, index: askerParked })
  let seen = 0
  const look = () => {
    for (;;) {
      const now = memory.load(asked)
      if (now !== seen) {
        seen = now
        memory.store(answered(rank), now)
        asker.wake()
      } else if (!changes(memory, asked, seen, invitation.lookMicros)) {
        memory.store(parked(rank), 1)
        if (memory.load(asked) === seen) return
        memory.store(parked(rank), 0)
      }
    }
  }
  yield* Doorbell.hang(Segment.defaultFolder, invitation.bell, look)
  look()
  process.send?.("ready")
  return yield* Effect.callback<void>((resume) => {
    process.once("disconnect", () => resume(Effect.void))
  })
})

const ask = Effect.fnUntraced(function*(processes: number, lookMicros: number, rounds: number) {
  const prefix = Segment.prefix("waking", `${process.pid}-${processes}-${lookMicros}`)
  const segment = Segment.name(prefix)
  const memory = new MappedMemory(yield* Segment.create(Segment.defaultFolder, segment, bytes))
  const askerBell = Segment.name(prefix)
  let check = () => {}
  yield* Doorbell.hang(Segment.defaultFolder, askerBell, () => check())
  const ringers: Array<Doorbell.Ringer> = []
  for (let rank = 0; rank < processes; rank++) {
    const bell = Segment.name(prefix)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => fork(import.meta.filename, ["answer"])),
      (child) =>
        Effect.callback<void>((resume) => {
          child.once("exit", () => resume(Effect.void))
          child.disconnect()
        })
    )
    yield* Effect.callback<void>((resume) => {
      child.once("message", () => resume(Effect.void))
      child.send({ segment, askerBell, bell, rank, lookMicros } satisfies Invitation)
    })
    ringers.push(new Doorbell.Ringer(Segment.defaultFolder, bell, { memory, index: parked(rank) }))
  }
  const all = (round: number) => ringers.every((_, rank) => memory.load(answered(rank)) === round)
  const micros = yield* Effect.callback<Array<number>>((resume) => {
    const micros: Array<number> = []
    let round = 0
    let start = 0
    const next = () => {
      round++
      start = performance.now()
      memory.store(asked, round)
      for (const ringer of ringers) ringer.wake()
    }
    check = () => {
      for (;;) {
        if (all(round)) {
          micros.push((performance.now() - start) * 1000)
          if (micros.length === rounds) return resume(Effect.succeed(micros))
          next()
        }
        const end = performance.now() + lookMicros / 1000
        while (!all(round) && performance.now() < end) { /* the counters are all there is to look at */ }
        if (all(round)) continue
        memory.store(askerParked, 1)
        if (!all(round)) return
        memory.store(askerParked, 0)
      }
    }
    next()
    check()
  })
  for (const ringer of ringers) ringer.close()
  return micros.slice(micros.length / 10 | 0).sort((a, b) => a - b)
}, Effect.scoped)

const report = (what: string, sorted: ReadonlyArray<number>) => {
  const at = (share: number) => sorted[Math.floor(sorted.length * share)]!.toFixed(1).padStart(8)
  process.stdout.write(`${what.padEnd(24)} p50 ${at(0.5)} µs   p99 ${at(0.99)} µs\n`)
}

const measure = Effect.gen(function*() {
  const rounds = Number(process.argv[2] ?? 3000)
  report("1 process, awake", yield* ask(1, 100, rounds))
  for (const processes of [1, 4, 8]) {
    report(`${processes} process${processes > 1 ? "es" : ""}, asleep`, yield* ask(processes, 0, rounds))
  }
})

const invited = Effect.callback<unknown>((resume) => {
  process.once("message", (message) => resume(Effect.succeed(message)))
}).pipe(Effect.flatMap(Schema.decodeUnknownEffect(Invitation)))

await Effect.runPromise(process.argv[2] === "answer" ? invited.pipe(Effect.flatMap(answer), Effect.scoped) : measure)
