/** A driver that kills itself while its ranks answer requests. `node victim.ts FOLDER REQUEST POINT CLUSTER` dies at a point of its journal, of its steps, or right before or after the next epoch begins. */
import * as Elastic from "@phalanx/elastic/Elastic"
import type { Ranks } from "@phalanx/moe/Ranks"
import { Effect, Layer } from "effect"
import * as DyingJournal from "../../../test/harness/dyingJournal.ts"
import * as DyingSteps from "../../../test/harness/dyingSteps.ts"
import { drive, main } from "../driver.ts"
import { journalOf } from "../group.ts"

const [folder, request, point, cluster] = process.argv.slice(2) as [string, string, string, string]

/** Requests have been given to their next owners, and no rank goes on, when the next epoch begins. */
const dying = (ranks: Ranks["Service"]): Ranks["Service"] =>
  Object.create(ranks, {
    prepare: {
      value: (...args: Parameters<Ranks["Service"]["prepare"]>) =>
        Effect.map(ranks.prepare(...args), (standby) => ({
          ...standby,
          commit: point === "before begin"
            ? DyingJournal.die
            : point === "after begin"
            ? Effect.andThen(standby.commit, DyingJournal.die)
            : standby.commit
        }))
    }
  })

main(drive({
  folder,
  cluster,
  from: 2,
  request: JSON.parse(request),
  capacity: 6,
  journal: Elastic.layer.pipe(Layer.provide(DyingJournal.layer(journalOf(folder), point))),
  ranks: dying,
  resizable: (resizable) => DyingSteps.make(resizable, point),
  // Four run, and two wait.
  requests: 2,
  open: 6,
  tokens: 40
}))
