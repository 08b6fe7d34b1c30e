import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import * as Elastic from "../src/Elastic.ts"
import * as Journal from "../src/Journal.ts"
import type { Request } from "../src/Resizable.ts"
import * as Group from "./group.ts"

const victim = fileURLToPath(new URL("./fixtures/victim.ts", import.meta.url))

/** Runs a driver that is killed at a point, in a process of its own; false if it had ended before it came there. */
const kill = (folder: string, request: Request, point: string): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const child = spawn(process.execPath, [victim, folder, JSON.stringify(request), point], { stdio: ["ignore", "inherit", "inherit"] })
    child.once("exit", (code, signal) =>
      resume(signal === "SIGKILL" ? Effect.succeed(true) : code === 0 ? Effect.succeed(false) : Effect.die(new Error(`${point}: ${code}`))))
    return Effect.sync(() =>
      child.kill("SIGKILL")
    )
  })

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-kills-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const up: Request = { to: { dp: 4, tp: 1 } }
const down: Request = { leave: [0] }

/** Kills a driver at a point and lets this process be its successor; false if it had ended before. */
const survive = Effect.fnUntraced(function*(request: Request, point: string) {
  const where = yield* folder
  const store = Group.file(join(where, "group.json"))
  store.write(Group.begin(2))
  if (!(yield* kill(where, request, point))) return false
  yield* Effect.gen(function*() {
    const journal = yield* Journal.Journal
    const group = Group.make(store)
    const left = yield* journal.operation("a")
    const decided = Option.isSome(left) && left.value.state !== "preparing"
    if (Option.isSome(left) && left.value.state !== "ended") {
      assert.deepInclude(yield* Effect.flip(Elastic.scale(group, { to: { dp: 3, tp: 1 }, operation: "b" })), { active: "a" })
      assert.deepInclude(yield* Elastic.status("a"), { committed: decided })
    }
    const adopted = yield* Effect.exit(Elastic.adopt(group))
    const { log, prepared, remains, serving } = store.read()
    const target = "to" in request ? [0, 1, 2, 3] : [1]
    assert.deepStrictEqual(
      { epoch: serving.epoch, members: serving.members, prepared, remains },
      { epoch: decided ? 1 : 0, members: decided ? target : [0, 1], prepared: null, remains: [] },
      log.join()
    )
    assert.strictEqual(log.includes("commit"), decided, log.join())
    assert.isFalse(decided && log.includes("abort"), log.join())
    if (Option.isSome(left)) {
      assert.strictEqual(adopted._tag, decided ? "Success" : "Failure")
      assert.deepInclude(yield* Elastic.status("a"), { state: decided ? "done" : "failed", committed: decided })
      const again = yield* Effect.exit(Elastic.scale(group, { ...request, operation: "a" }))
      assert.strictEqual(again._tag, decided ? "Success" : "Failure")
      assert.deepStrictEqual(store.read().log, log, "asking again did something")
    }
    assert.isTrue((yield* Elastic.scale(group, { to: { dp: 3, tp: 1 }, operation: "next" })).changed)
  }).pipe(Effect.provide(Elastic.layerSqlite({ filename: join(where, "journal.db"), synchronous: "NORMAL" })))
  return true
}, Effect.scoped)

/** The lines that an operation which succeeds leaves in the journal; the seventh is the decision. */
const writes = 12
const every = [
  ...Array.from({ length: writes }, (_, index) => [`before ${index + 1}`, `after ${index + 1}`]).flat(),
  ...["prepare", "copy", "ready", "commit", "retire", "abort"].map((part) => `in ${part}`)
]
// `pnpm elastic:kills` goes through all of them, both ways.
const all = process.env["PHALANX_KILLS"] === "all"
const sample = ["after 1", "in copy", "before 7", "after 7", "before 9", "after 11", "in abort"]

describe("an operation whose driver is killed", () => {
  it.live(
    "WF-10: around any of its writes, or in any of its steps, ends in the membership before or in the one asked for, by what was decided",
    () =>
      Effect.gen(function*() {
        const cases = all
          ? every.flatMap((point) => [[up, point] as const, [down, point] as const])
          : sample.map((point, index) => [index % 2 === 0 ? up : down, point] as const)
        const killed = yield* Effect.forEach(
          cases,
          ([request, point]) =>
            survive(request, point).pipe(
              Effect.catchDefect((defect) =>
                Effect.die(new Error(`killed ${point}: ${defect instanceof Error ? defect.message : String(defect)}`, { cause: defect }))
              )
            ),
          { concurrency: 2 }
        )
        assert.isTrue(killed.every((dead) => dead), "a point was never reached")
        assert.isFalse(yield* survive(up, `before ${writes + 1}`), "there is a write that nobody is killed at")
      }),
    all ? 600_000 : 120_000
  )
})
