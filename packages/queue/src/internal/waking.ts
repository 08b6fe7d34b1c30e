/** The asking end of the measurement, and its course. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import * as Crypto from "node:crypto"
import * as Doorbell from "./doorbell.ts"
import * as Files from "./files.ts"
import { MappedMemory } from "./memory.ts"
import * as Segment from "./segment.ts"
import { answered, asked, askerParked, type Invitation, parked, segmentBytes } from "./wakingWords.ts"

const start = (invitation: Invitation) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof fork>>((resume) => {
      const child = fork(new URL("./wakingAnswer.ts", import.meta.url), { execArgv: [] })
      child.once("message", () => resume(Effect.succeed(child)))
      child.send(invitation)
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.disconnect()
      })
  )

/** Asks so many times in turn, each as soon as all have answered. */
const ask = (memory: MappedMemory, ringers: ReadonlyArray<Doorbell.Ringer>, rounds: number, lookMillis: number) => {
  const micros: Array<number> = []
  let round = 0
  let started = 0
  let done = () => {}
  const bed = new Doorbell.Bed({ memory, index: askerParked })
  const isAnswered = () => ringers.every((_, rank) => memory.load(answered(rank)) === round)
  const next = () => {
    round++
    started = performance.now()
    memory.store(asked, round)
    for (const ringer of ringers) ringer.wake()
  }
  const look = (): void => {
    while (micros.length < rounds) {
      const end = performance.now() + lookMillis
      while (!isAnswered() && performance.now() < end) { /* the counters are all there is to look at */ }
      if (isAnswered()) {
        micros.push((performance.now() - started) * 1000)
        if (micros.length === rounds) return done()
        next()
      } else {
        bed.park(1)
        if (!isAnswered()) return
        bed.park(0)
      }
    }
  }
  const all = Effect.callback<Array<number>>((resume) => {
    done = () => resume(Effect.succeed(micros))
    next()
    look()
  })
  return { all, look }
}

export const measure = Effect.fnUntraced(function*(options?: {
  readonly processes?: number | undefined
  readonly look?: Duration.Input | undefined
  readonly rounds?: number | undefined
}) {
  const { processes = 1, rounds = 3000 } = options ?? {}
  const lookMillis = Duration.toMillis(options?.look ?? 0)
  const folder = Files.defaultFolder
  const prefix = Files.prefix("waking", Crypto.randomBytes(16).toString("hex"))
  const [segment, askerBell] = [Files.name(prefix), Files.name(prefix)]
  const bytes = segmentBytes(processes)
  const memory = new MappedMemory(yield* Segment.create(folder, segment, bytes))
  const ringers: Array<Doorbell.Ringer> = []
  const asking = ask(memory, ringers, rounds, lookMillis)
  yield* Doorbell.hang(folder, askerBell, asking.look)
  for (let rank = 0; rank < processes; rank++) {
    const bell = Files.name(prefix)
    yield* start({ folder, segment, askerBell, bell, rank, processes, lookMillis })
    ringers.push(new Doorbell.Ringer(Doorbell.find(folder, bell), { memory, index: parked(rank) }))
  }
  const micros = yield* asking.all
  for (const ringer of ringers) ringer.close()
  return micros.slice(Math.floor(micros.length / 10)).sort((a, b) => a - b)
}, Effect.scoped)
