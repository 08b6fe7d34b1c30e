import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import * as Elastic from "../src/Elastic.ts"
import * as Journal from "../src/Journal.ts"
import type { Request } from "../src/Resizable.ts"
import * as Group from "./group.ts"

const victim = fileURLToPath(new URL("./fixtures/victim.ts", import.meta.url))

type Case = readonly [request: Request, point: string]

/** Runs a driver, in a process of its own, that is killed when each case has come to its point: the cases that had ended before. */
const kill = (folder: string, cases: ReadonlyArray<Case>): Effect.Effect<ReadonlyArray<number>> =>
  Effect.callback((resume) => {
    let said = ""
    const child = spawn(process.execPath, [victim, folder, JSON.stringify(cases)], { stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.setEncoding("utf8").on("data", (text: string) => said += text)
    child.once("close", (code, signal) =>
      resume(
        signal === "SIGKILL"
          ? Effect.succeed(said.split("\n").filter(Boolean).map(Number))
          : Effect.die(new Error(`the driver has ended: ${code}`))
      ))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-kills-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const up: Request = { to: { dp: 4, tp: 1 } }
const down: Request = { leave: [0] }

const books = (where: string) => Group.file(join(where, "group.json"))

/** Lets this process be the successor of a driver that was killed. */
const survive = Effect.fnUntraced(
  function*(where: string, request: Request) {
    const store = books(where)
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
  },
  (effect, where) => Effect.provide(effect, Elastic.layerSqlite({ filename: join(where, "journal.db"), synchronous: "NORMAL" }))
)

/** The lines that an operation which succeeds leaves in the journal; the seventh is the decision. */
const writes = 12
const every = [
  ...Array.from({ length: writes }, (_, index) => [`before ${index + 1}`, `after ${index + 1}`]).flat(),
  ...["prepare", "copy", "ready", "commit", "retire", "abort"].map((part) => `in ${part}`)
]
// `pnpm elastic:kills` goes through all of them, both ways; else one goes one way, the next one the other.
const all = process.env["PHALANX_KILLS"] === "all"
const cases: ReadonlyArray<Case> = [
  ...every.flatMap((point, index): ReadonlyArray<Case> => all ? [[up, point], [down, point]] : [[index % 4 < 2 ? up : down, point]]),
  [up, `before ${writes + 1}`]
]

describe("an operation whose driver is killed", () => {
  it.live(
    "WF-10: around any of its writes, or in any of its steps, ends in the membership before or in the one asked for, by what was decided",
    () =>
      Effect.gen(function*() {
        const where = yield* folder
        for (const index of cases.keys()) {
          mkdirSync(join(where, String(index)))
          books(join(where, String(index))).write(Group.begin(2))
        }
        // Of the points that are named all are reached, and there is no write beyond them.
        assert.deepStrictEqual(yield* kill(where, cases), [cases.length - 1])
        yield* Effect.forEach(cases.slice(0, -1), ([request, point], index) =>
          survive(join(where, String(index)), request).pipe(
            Effect.catchDefect((defect) =>
              Effect.die(new Error(`killed ${point}: ${defect instanceof Error ? defect.message : String(defect)}`, { cause: defect }))
            )
          ))
      }).pipe(Effect.scoped)
  )
})
