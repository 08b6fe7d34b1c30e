/** One question, asked of several systems in turn. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import process from "node:process"
import * as Depth from "./Depth.ts"
import * as Driver from "./Driver.ts"
import * as Proc from "./Proc.ts"
import * as Row from "./Row.ts"
import type { Setting } from "./System.ts"
import type * as Systems from "./Systems.ts"

/** One measurement that the command line runs by its name. */
export interface Bench {
  readonly name: string
  /** What is measured, in a sentence or two for readers of the results. */
  readonly about: string
  readonly unit: "µs" | "bytes" | "µs/s"
  /** Measures at a depth: a row for each system and setting, values in `unit`. `tell` hears of what is worth a line of its own. What it starts ends with the scope. */
  readonly run: (
    depth: Depth.Depth,
    tell?: (line: string) => void
  ) => Effect.Effect<ReadonlyArray<Row.Row>, Driver.SystemFailed, Scope.Scope>
}

/** The systems in another order each round, so that none always follows the same one. */
export const rotated = <A>(systems: ReadonlyArray<A>, round: number): ReadonlyArray<A> => [
  ...systems.slice(round % systems.length),
  ...systems.slice(0, round % systems.length)
]

/** Does something, and says which share of the machine others than these processes used meanwhile. */
export const watched = <E>(pids: ReadonlyArray<number>, values: Effect.Effect<ReadonlyArray<number>, E>): Effect.Effect<Row.Round, E> =>
  Effect.suspend(() => {
    const from = Proc.mark([...pids, process.pid])
    return Effect.map(values, (values) => ({ values, foreign: Proc.foreign(from, Proc.mark([...pids, process.pid])) }))
  })

/** A driver a system, their modules loaded; no workers yet. */
export const spawnAll = (systems: ReadonlyArray<Systems.Name>) => Effect.forEach(systems, Driver.spawn, { concurrency: 2 })

/** A driver a system, with its workers up, parked until it is their turn. */
export const startAll = (systems: ReadonlyArray<Systems.Name>, setting: Setting) =>
  Effect.flatMap(
    spawnAll(systems),
    (drivers) =>
      Effect.forEach(drivers, (driver) => Effect.map(driver.start(setting), ({ pids }) => ({ driver, pids: [driver.pid, ...pids] })))
  )

/**
 * The usual way: for each setting every system has its workers up from the first round to the last; one system at a time is asked, while the
 * others' workers sleep.
 */
export const interleaved = (systems: ReadonlyArray<Systems.Name>, settings: ReadonlyArray<Setting>) => (depth: Depth.Depth) =>
  Effect.map(
    Effect.forEach(settings, (setting) =>
      Effect.scoped(Effect.gen(function*() {
        const started = yield* startAll(systems, setting)
        const rounds = new Map(systems.map((name) => [name, [] as Array<Row.Round>]))
        for (let round = 0; round < depth.rounds; round++) {
          for (const { driver, pids } of rotated(started, round)) {
            const sample = driver.sample(Depth.sampling(depth, round))
            rounds.get(driver.name)!.push(yield* watched(pids, Effect.map(sample, ({ micros }) => micros)))
          }
        }
        return systems.map((name) => Row.of(name, setting, rounds.get(name)!))
      }))),
    (rows) => rows.flat()
  )
