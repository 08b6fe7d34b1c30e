/** The faults that chaos is made of: which ones, on whom, and how each is done and over. */
import * as Effect from "effect/Effect"
import { waitUntil } from "./condition.ts"
import type { Ledger } from "./ledger.ts"
import type { Driver, Setting } from "./load/driver.ts"
import { now } from "./load/report.ts"
import type { Random } from "./random.ts"
import type { Relay } from "./relay.ts"
import { fillShm } from "./segments.ts"
import { floodPort } from "./strangers.ts"
import { lives } from "./traces.ts"
import * as victims from "./victim.ts"

/** How many of twenty faults are of each kind; one of twenty is the least that a kind may have. */
export const weights = { kill: 4, freeze: 2, thaw: 3, cutSocket: 3, fillShm: 2, floodPort: 2, slowReader: 2, blockLoop: 2 } as const
export type Verb = keyof typeof weights
export const verbs = Object.keys(weights) as ReadonlyArray<Verb>

/** So many faults in an order of chance: each kind has its share, and at least one if there are as many faults as kinds. */
export const deck = (count: number, random: Random, without: ReadonlyArray<Verb>): ReadonlyArray<Verb> => {
  const present = random.shuffle(verbs.filter((verb) => !without.includes(verb)))
  const rest: Array<Verb> = []
  while (present.length + rest.length < count) {
    rest.push(...random.shuffle(present.flatMap((verb) => Array<Verb>(weights[verb]).fill(verb))))
  }
  // One of each kind is part of the first twenty.
  for (const verb of present) rest.splice(rest.indexOf(verb), 1)
  return random.shuffle([...present, ...rest].slice(0, count))
}

export interface Stage {
  readonly setting: Setting
  readonly driver: Driver
  readonly ledger: Ledger
  readonly random: Random
  readonly relays: ReadonlyMap<string, ReadonlyArray<Relay>>
  /** The port that a group's driver listens on. */
  readonly port: (group: string) => number | undefined
  /** How often a rank of a group has begun to serve again. */
  readonly restarts: (group: string, rank: number) => number
}

export const make = ({ driver, ledger, port, random, relays, restarts, setting }: Stage): Record<Verb, Effect.Effect<void, unknown>> => {
  const { frozen, unresponsive } = setting.heartbeat
  const overTcp = setting.groups.filter(({ relays }) => relays !== undefined)
  const overShm = setting.groups.filter(({ relays }) => relays === undefined)
  type Group = Setting["groups"][number]

  const suffering = new Set<number>()

  /** Does something to a worker of the group that nobody else does anything to, whatever that worker is doing, its start included. */
  const withVictim = <A, E>(group: Group, use: (victim: victims.Victim) => Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      let found: ReadonlyArray<victims.Victim> = []
      const look = () => (found = victims.find(`${group.name}-`).filter(({ pid }) => !suffering.has(pid))).length > 0
      return Effect.flatMap(waitUntil(`a worker of ${group.name} lives`, look), () => {
        const victim = random.pick(found)
        suffering.add(victim.pid)
        return Effect.ensuring(use(victim), Effect.sync(() => suffering.delete(victim.pid)))
      })
    })

  /** Does it, and waits until the process is gone and its rank serves again. */
  const lethal = (verb: Verb, group: Group, hurt: (victim: victims.Victim) => Effect.Effect<void>) =>
    withVictim(group, (victim) => {
      const { pid, rank } = victim
      const before = restarts(group.name, rank)
      ledger.blow(pid, verb, now())
      return hurt(victim).pipe(
        Effect.andThen(waitUntil(`process ${pid} is gone`, () => !lives(pid))),
        Effect.andThen(waitUntil(`rank ${rank} of ${group.name} serves again`, () => restarts(group.name, rank) > before))
      )
    })
  const anyGroup = () => random.pick(setting.groups)

  return {
    kill: Effect.suspend(() => lethal("kill", anyGroup(), victims.kill)),

    freeze: Effect.suspend(() => lethal("freeze", anyGroup(), victims.freeze)),

    // In time: nobody need notice.
    thaw: Effect.suspend(() =>
      withVictim(
        anyGroup(),
        (victim) => Effect.andThen(victims.freeze(victim), Effect.delay(victims.thaw(victim), random.between(20, frozen * 0.7)))
      )
    ),

    // A connection that comes back at once, or one that stays away until its rank counts as frozen.
    cutSocket: Effect.suspend(() => {
      const { name } = random.pick(overTcp)
      return random.pick(relays.get(name)!).cutSocket(random.chance(0.7) ? 0 : random.between(100, frozen * 2))
    }),

    // A worker that dies meanwhile cannot be started again before there is room.
    fillShm: Effect.suspend(() =>
      Effect.all([
        fillShm(random.between(0, 100_000), random.between(200, 1500)),
        Effect.delay(lethal("kill", random.pick(overShm), victims.kill), 50)
      ], { concurrency: "unbounded" })
    ),

    floodPort: Effect.suspend(() => {
      const to = port(random.pick(overTcp).name)
      return to === undefined ? Effect.void : floodPort(to, random.between(100, 600), random)
    }),

    slowReader: Effect.sync(() => {
      const { name, ranks } = anyGroup()
      const [rank, millis, nap] = [random.between(0, ranks - 1), random.between(300, 1500), random.between(60, 150)]
      driver.slowReader(name, rank, millis, nap)
    }),

    // Below the deadline of the one or the other kind, and above it.
    blockLoop: Effect.suspend(() => {
      const { name, ranks } = anyGroup()
      const [rank, spins] = [random.between(0, ranks - 1), random.chance(0.5)]
      const deadline = spins ? unresponsive : frozen
      const millis = random.chance(0.5) ? random.between(50, Math.min(500, deadline * 0.7)) : Math.round(deadline * 1.5)
      driver.blockLoop(name, rank, millis, spins)
      const victim = victims.find(`${name}-`).find((other) => other.rank === rank)
      if (victim !== undefined && millis > deadline) ledger.blow(victim.pid, "blockLoop", now())
      return Effect.void
    })
  }
}
