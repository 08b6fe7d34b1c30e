import { assert, describe, it } from "@effect/vitest"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as Journal from "@phalanx/elastic/Journal"
import type { Request } from "@phalanx/elastic/Resizable"
import * as OsProcess from "@phalanx/node/OsProcess"
import { Effect, Option } from "effect"
import { spawn } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { cluster, keys, operations, options } from "./group.ts"
import * as resizing from "./resizing.ts"
import { Counters, ownerOf } from "./worker.ts"

/** Runs a driver that is killed at a point; false if it had ended before it came there. */
const kill = (folder: string, request: Request, point: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const args = [join(import.meta.dirname, "test", "victim.ts"), folder, JSON.stringify(request), point]
    const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] })
    child.once("exit", (code, signal) =>
      resume(signal === "SIGKILL" ? Effect.succeed(true) : code === 0 ? Effect.succeed(false) : Effect.die(new Error(`${point}: ${code}`))))
    return Effect.sync(() =>
      child.kill("SIGKILL")
    )
  })

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-counters-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const up: Request = { to: { rank: 3 } }
const down: Request = { leave: [0] }

/** Kills a driver at a point and lets this process be its successor; false if it had ended before. */
const survive = Effect.fnUntraced(function*(request: Request, point: string) {
  const where = yield* folder
  mkdirSync(join(where, "registry"), { mode: 0o700 })
  if (!(yield* kill(where, request, point))) return false
  const { name, pids }: { readonly name: string; readonly pids: ReadonlyArray<number> } = JSON.parse(
    readFileSync(join(where, "group.json"), "utf8")
  )
  const lives = (pid: number) => OsProcess.lives(OsProcess.of(pid))
  yield* Effect.gen(function*() {
    const group = yield* WorkerGroup.adopt(Counters, { ...options, group: name })
    const { add, resizable } = resizing.make(group)
    const journal = yield* Journal.Journal
    const left = yield* journal.operation("a")
    const decided = Option.isSome(left) && left.value.state !== "preparing"
    const adopted = yield* Effect.exit(Elastic.adopt(resizable))
    if (Option.isSome(left)) assert.strictEqual(adopted._tag, decided ? "Success" : "Failure")

    // The target or what there was, with the processes that there were.
    const members = decided ? ("to" in request ? [0, 1, 2] : [1]) : [0, 1]
    assert.deepStrictEqual(group.workers.map(({ id }) => id), members)
    for (const { id, pid } of group.workers) if (id < 2) assert.strictEqual(pid, pids[id])
    const entries = yield* group.call.entries()
    const held = entries.flatMap((counters, rank) => Object.entries(counters).map(([key, count]) => [key, count, rank] as const))
    assert.deepStrictEqual(
      held.sort(([a], [b]) => a < b ? -1 : 1),
      keys.map((key, index) => [key, index, ownerOf(key, members.length)] as const).sort(([a], [b]) => a < b ? -1 : 1)
    )
    // And it goes on to another size.
    assert.isTrue((yield* Elastic.scale(resizable, { to: { rank: members.length + 1 }, operation: "next" })).changed)
    assert.deepStrictEqual(yield* Effect.forEach(keys, (key) => add(key, 1)), keys.map((_, index) => index + 1))
  }).pipe(Effect.scoped, Effect.provide([cluster(where), operations(where)]))
  assert.deepStrictEqual([pids.filter(lives), readdirSync(join(where, "registry"))], [[], []])
  assert.deepStrictEqual(readdirSync(where).filter((file) => file.startsWith("phalanx-")), [])
  assert.isTrue(existsSync(join(where, "operations", "journal.db")))
  return true
}, Effect.scoped)

/** The lines that an operation which succeeds leaves in the journal; the seventh is the decision. */
const writes = 12
const every = [
  ...Array.from({ length: writes }, (_, index) => [`before ${index + 1}`, `after ${index + 1}`]).flat(),
  ...["prepare", "copy", "ready", "commit", "retire", "abort"].flatMap((step) => [`in ${step}`, `done ${step}`])
]
// `pnpm elastic:kills` goes through all of them, both ways. One that grows and is decided is killed in the example itself.
const all = process.env["PHALANX_KILLS"] === "all"
const sample = [[up, "done copy"], [down, "done commit"]] as const

describe("a group of processes whose driver is killed while it changes its size", () => {
  it.live(
    "AD-7: ends in the membership before or in the one asked for, by what was decided, with the same processes and every count, at whichever point",
    () =>
      Effect.gen(function*() {
        const cases = all ? every.flatMap((point) => [[up, point] as const, [down, point] as const]) : sample
        const killed = yield* Effect.forEach(
          cases,
          ([request, point]) =>
            survive(request, point).pipe(
              Effect.catchDefect((defect) =>
                Effect.die(
                  new Error(`killed ${point}, ${JSON.stringify(request)}: ${defect instanceof Error ? defect.message : String(defect)}`, {
                    cause: defect
                  })
                )
              )
            ),
          { concurrency: 2 }
        )
        assert.isTrue(killed.every((dead) => dead), "a point was never reached")
      }),
    all ? 1_200_000 : 120_000
  )
})
