import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import { Console, Effect, Fiber, Option } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { cluster, keys, operations, options } from "./group.ts"
import * as resizing from "./resizing.ts"
import { Counters } from "./worker.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-counters-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** The first driver, which kills itself when it has decided to go from 2 ranks to 3 and is about to. */
const drive = (folder: string) =>
  Effect.callback<string>((resume) => {
    const args = [join(import.meta.dirname, "driver.ts"), folder]
    spawn(process.execPath, args, { stdio: "inherit" }).once("exit", (_, signal) => resume(Effect.succeed(String(signal))))
  })

const program = Effect.gen(function*() {
  const where = yield* folder
  yield* Console.log(`the driver of 2 ranks ends with ${yield* drive(where)}`)
  const before: { readonly name: string; readonly pids: ReadonlyArray<number> } = JSON.parse(
    readFileSync(join(where, "group.json"), "utf8")
  )
  yield* Effect.gen(function*() {
    const group = yield* WorkerGroup.adopt(Counters, { ...options, group: before.name })
    const { add, resizable } = resizing.make(group)
    const operation = Option.getOrThrow(yield* Elastic.adopt(resizable))
    const same = group.workers.slice(0, 2).every(({ pid }, rank) => pid === before.pids[rank])
    yield* Console.log(
      `another one carries on: ${operation.to.members.length} ranks, the first two ${same ? "the same" : "other"} processes`
    )

    let rounds = 0
    const round = Effect.map(Effect.forEach(keys, (key) => add(key, 1), { concurrency: 8 }), (counts) => {
      rounds++
      return counts
    })
    // Counts on until the change is done, and once more.
    const counting = yield* Effect.forkChild(Effect.forever(Effect.uninterruptible(round)), { startImmediately: true })
    const { to } = yield* Elastic.scale(resizable, { leave: [0], operation: "b" })
    yield* Fiber.interrupt(counting)
    yield* Console.log(`and goes on to members ${to.members.join(", ")}, counting ${rounds > 1 ? "meanwhile" : "afterwards"}`)
    const counts = yield* round
    yield* Console.log(
      `counters that are what they should be: ${counts.filter((count, index) => count === index + rounds).length} of ${keys.length}`
    )
  }).pipe(Effect.scoped, Effect.provide([cluster(where), operations(where)]))
}).pipe(Effect.scoped)

NodeRuntime.runMain(program)
