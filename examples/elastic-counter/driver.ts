/**
 * The first driver: starts two ranks, counts, and changes their number. `node driver.ts FOLDER` goes to three, and kills itself when that is decided and about to begin.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import type { Request, Resizable } from "@phalanx/elastic/Resizable"
import { Effect, Layer } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { cluster, journalOf, keys, operations, options } from "./group.ts"
import * as resizing from "./resizing.ts"
import { Counters } from "./worker.ts"

/** `through` is what the group is resized through. */
export const drive = <E>(
  folder: string,
  request: Request,
  journal: Layer.Layer<Elastic.Elastic, E>,
  through: (resizable: Resizable["Service"]) => Resizable["Service"]
) =>
  Effect.gen(function*() {
    const group = yield* WorkerGroup.make(Counters, { ...options, name: "counters" })
    const { add, resizable } = resizing.make(group)
    yield* Effect.forEach(keys, (key, index) => add(key, index), { concurrency: 8 })
    writeFileSync(join(folder, "group.json"), JSON.stringify({ name: group.name, pids: group.workers.map(({ pid }) => pid) }))
    yield* Elastic.scale(through(resizable), { ...request, operation: "a" })
  }).pipe(
    Effect.scoped,
    Effect.provide([
      cluster(folder),
      Layer.unwrap(Effect.sync(() => {
        mkdirSync(dirname(journalOf(folder)))
        return journal
      }))
    ])
  )

if (import.meta.main) {
  const folder = process.argv[2]!
  const die = Effect.andThen(Effect.sync(() => process.kill(process.pid, "SIGKILL")), Effect.never)
  NodeRuntime.runMain(drive(folder, { to: { rank: 3 } }, operations(folder), (resizable) => ({ ...resizable, commit: () => die })))
}
