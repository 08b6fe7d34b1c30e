import type { Standby, WorkerGroup } from "@phalanx/core/WorkerGroup"
import * as ResizableGroup from "@phalanx/elastic/ResizableGroup"
import { Duration, Effect, Semaphore } from "effect"
import { type Counters, ownerOf } from "./worker.ts"

type Next = Standby<typeof Counters, "rank">

/** For each rank of the next epoch, its place among all that are concerned: those of now, then those that join. */
const placesIn = ({ joining, members }: Next, now: ReadonlyArray<number>): ReadonlyArray<number> => {
  const all = [...now, ...joining]
  return members.map((id) => all.indexOf(id))
}

const many = 1000

/** Counters that can be asked while their ranks become more or fewer. */
export const make = (group: WorkerGroup<typeof Counters, "rank">) => {
  const permits = Semaphore.makeUnsafe(many)
  const give = (standby: Next, now: ReadonlyArray<number>, all: boolean) => standby.all.call.give({ places: placesIn(standby, now), all })
  return {
    add: (key: string, n: number) =>
      permits.withPermits(1)(Effect.suspend(() => group.at(ownerOf(key, group.mesh.ranks.length)).call.add({ key, n }))),
    resizable: ResizableGroup.make(group, {
      copy: (standby, { from }) => give(standby, from.members, true),
      commit: (standby, commit, { from }) => {
        const held = Effect.timed(Effect.andThen(give(standby, from.members, false), commit))
        return permits.withPermits(many)(Effect.map(held, ([took]) => Duration.toMillis(took)))
      },
      forget: group.call.forget()
    })
  }
}
