/**
 * Finds workers that are silent. One fiber a group asks each rank from which nothing has come for a beat whether it still answers; calls cost nothing but a flag. Whether a silent
 * worker is frozen or computes is told by its process: its state, and whether its processor time advances.
 */
import * as Effect from "effect/Effect"
import type * as Cluster from "../Cluster.ts"
import * as GroupEvent from "../GroupEvent.ts"
import type { Elapsed } from "./elapsed.ts"
import type { FanOut } from "./fanOut.ts"
import { Kind } from "./frame.ts"
import type { Life, Lives } from "./lives.ts"
import type { Member, Roster } from "./roster.ts"

export interface Settings {
  /** All in milliseconds. */
  readonly every: number
  readonly frozen: number
  readonly unresponsive: number
}

export interface Options {
  readonly settings: Settings
  readonly now: Elapsed
  readonly roster: Roster
  readonly lives: Lives
  readonly out: FanOut
  readonly ended: (life: Life, end: Cluster.End) => void
  readonly tell: (event: GroupEvent.GroupEvent) => void
}

/** What is known of a member since it was last heard. */
interface Watch {
  readonly life: Life
  /** When it was last known to answer. */
  heard: number
  /** Its processor time when it was first found silent. */
  cpuMillis: number | undefined
  /** That it computes has been told. */
  told: boolean
}

/** Processor time that a frozen process may still be charged with: a tick of the kernel's clock. */
const tick = 10

export const run = Effect.fnUntraced(function*({ ended, lives, now, out, roster, settings, tell }: Options) {
  const { every, frozen, unresponsive } = settings
  const watches = new Map<Member, Watch>()
  let beat = 0

  /** Its process, if it is silent enough to be asked. */
  const judge = Effect.fnUntraced(function*(member: Member, watch: Watch, time: number, vitals: Effect.Effect<Cluster.Vitals>) {
    const silence = time - watch.heard
    const { cpuMillis, state } = yield* vitals
    if (member.stirred || watch.life.over) return
    // One that starts may wait for much, but not for somebody to let it go on.
    if (!lives.serves(member) && state !== "stopped") return void (watch.heard = time)
    watch.cpuMillis ??= cpuMillis
    // On a machine that has too much to do a worker may wait for a processor for long, and is not frozen for that.
    const computes = state === "running" || (state === "alive" && cpuMillis - watch.cpuMillis > tick)
    if (silence < frozen) return
    if (silence >= unresponsive || !computes) {
      const stderr = yield* lives.stderrOf(watch.life)
      return ended(watch.life, { death: { _tag: "Silent", millis: silence, state: computes ? "unresponsive" : "frozen" }, stderr })
    }
    if (watch.told) return
    watch.told = true
    const oldest = out.oldest(member)
    tell(GroupEvent.make.Unresponsive({ rank: member.rank, method: oldest?.method, ageMillis: oldest?.ageMillis }))
  })

  /** Looks at one member; when it has to be looked at again at the latest. */
  const look = Effect.fnUntraced(function*(member: Member, time: number, late: number) {
    const life = lives.of(member)
    const vitals = life?.process?.vitals
    if (life === undefined || life.over || vitals === undefined) {
      watches.delete(member)
      return time + every
    }
    let watch = watches.get(member)
    if (watch?.life !== life || member.stirred) {
      watch = { life, heard: time, cpuMillis: undefined, told: false }
      watches.set(member, watch)
    }
    member.stirred = false
    // The driver itself may have been held up: time in which it could not have heard an answer does not count.
    watch.heard = Math.min(time, watch.heard + late)
    const silence = time - watch.heard
    if (lives.serves(member)) out.send(member, { kind: Kind.Ping, beat })
    if (silence >= every) yield* judge(member, watch, time, vitals)
    const deadline = silence < frozen ? frozen : unresponsive
    return Math.min(time + every, watch.heard + Math.max(deadline, silence + 1))
  })

  let due = now() + every
  while (true) {
    yield* Effect.sleep(Math.max(1, due - now()))
    const time = now()
    const late = Math.max(0, time - due)
    beat++
    let next = time + every
    for (const member of roster.present) next = Math.min(next, yield* look(member, time, late))
    due = next
  }
})
