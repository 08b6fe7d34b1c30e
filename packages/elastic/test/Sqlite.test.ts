import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as SqlClient from "effect/sql/SqlClient"
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Elastic from "../src/Elastic.ts"
import * as Journal from "../src/Journal.ts"
import * as JournalEngine from "../src/JournalEngine.ts"
import * as Sqlite from "../src/Sqlite.ts"
import * as Group from "./group.ts"
import * as Workflows from "./workflows.ts"

const temporary = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-sqlite-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => join(folder, "journal.db")
)

describe("a journal in a file", () => {
  it.effect("is in WAL mode and synced at every commit, unless it is told to sync now and then", () =>
    Effect.gen(function*() {
      const filename = yield* temporary
      const pragmas = Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const [{ journal_mode }] = (yield* sql`PRAGMA journal_mode`) as any
        const [{ synchronous }] = (yield* sql`PRAGMA synchronous`) as any
        return [journal_mode, synchronous]
      })
      assert.deepStrictEqual(yield* Effect.provide(pragmas, Sqlite.layer({ filename })), ["wal", 2])
      assert.deepStrictEqual(yield* Effect.provide(pragmas, Sqlite.layer({ filename, synchronous: "NORMAL" })), ["wal", 1])
    }))

  it.effect("WF-6: that is full fails with that reason, leaves nothing half written, and goes on when there is room", () =>
    Effect.gen(function*() {
      const client = yield* Layer.build(Sqlite.layer({ filename: yield* temporary }))
      const pages = (count: number) =>
        Effect.provide(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`PRAGMA max_page_count = ${sql.literal(String(count))}`), client)
      const { done, life, work } = Workflows.make(
        Layer.succeedContext(client),
        (step) => Effect.andThen(step("small", Effect.void), step("large", Effect.succeed("x".repeat(1_000_000))))
      )
      const exit = yield* life(Effect.andThen(pages(40), Effect.exit(work.execute({ id: "a", n: 0 }))))
      const error = Option.getOrThrow(JournalEngine.journalError(Exit.isFailure(exit) ? exit.cause : assert.fail("it went through")))
      assert.strictEqual(error.reason, "full")
      assert.match(error.message, /^could not record the activity large of \w+: database or disk is full. Make room where the journal lies/)
      yield* pages(100_000)
      assert.strictEqual((yield* life(work.execute({ id: "a", n: 0 }))).length, 1_000_000)
      assert.deepStrictEqual(done, ["small", "large", "large"])
    }))

  it.effect("WF-6: that is no database, is damaged, or cannot be opened is told when it is opened, by its name", () =>
    Effect.gen(function*() {
      const filename = yield* temporary
      const opened = Effect.flip(Effect.scoped(Layer.build(Elastic.layerSqlite({ filename }))))
      writeFileSync(filename, "Dear diary, today nothing happened. ".repeat(100))
      const none = yield* opened
      assert.deepInclude(none, { operation: `open the journal ${filename}`, reason: "damaged", issue: "file is not a database" })
      const nameless = yield* Effect.flip(Effect.scoped(Layer.build(Elastic.layerSqlite({ filename: "" }))))
      assert.strictEqual(nameless.issue, "it has no name")
      rmSync(filename)
      yield* Effect.scoped(Layer.build(Elastic.layerSqlite({ filename })))
      const file = openSync(filename, "r+")
      writeSync(file, Buffer.alloc(statSync(filename).size - 8192, 0xa5), 0, undefined, 8192)
      closeSync(file)
      assert.deepInclude(yield* opened, { reason: "damaged" })
      const nowhere = yield* Effect.flip(Effect.scoped(Layer.build(Sqlite.layer({ filename: join(filename, "no", "folder") }))))
      assert.deepInclude(nowhere, { reason: "unavailable", issue: "unable to open database file" })
    }))

  it.effect("WF-6: with a line that cannot be read says which one, and is read for everything else", () =>
    Effect.gen(function*() {
      const filename = yield* temporary
      const layer = Elastic.layerSqlite({ filename })
      const group = (name: string) => Group.make(Group.memory(Group.begin(2)), undefined, name)
      const run = (name: string) => Elastic.scale(group(name), { to: { dp: 4, tp: 1 }, operation: name })
      yield* Effect.provide(Effect.andThen(run("good"), run("bad")), layer)
      const database = new DatabaseSync(filename)
      database.exec("UPDATE phalanx_operations SET outcome = '{' WHERE id = 'bad'")
      database.exec("UPDATE phalanx_executions SET result = NULL, payload = '{}' WHERE number = 2")
      database.close()
      yield* Effect.gen(function*() {
        const error = yield* Effect.flip(Elastic.status("bad"))
        assert.strictEqual(error._tag, "JournalError")
        assert.include(error.message, "could not read the outcome of bad")
        assert.deepInclude(yield* Elastic.status("good"), { state: "done" })
        assert.isTrue((yield* run("another")).changed)
      }).pipe(Effect.provide(layer))
    }))

  it.live("WF-6: is waited for while another process writes it, with turns for everybody else, and out of reach if that does not end", () =>
    Effect.gen(function*() {
      const filename = yield* temporary
      const begin = Effect.flatMap(Journal.Journal, (journal) => journal.begin({ id: "a", workflow: "W", payload: "{}" }))
      const opened = (busyTimeout?: Duration.Input) =>
        Effect.map(
          Layer.build(Journal.layer.pipe(Layer.provide(Sqlite.layer({ filename, busyTimeout })))),
          (journal) => Effect.provide(begin, journal)
        )
      const [patient, hasty] = [yield* opened("1 minute"), yield* opened("20 millis")]
      const other = new DatabaseSync(filename)
      other.exec("BEGIN IMMEDIATE")
      const waiting = yield* Effect.forkChild(patient, { startImmediately: true })
      assert.deepInclude(yield* Effect.flip(hasty), { reason: "unavailable", issue: "database is locked" })
      assert.isUndefined(waiting.pollUnsafe())
      other.exec("COMMIT")
      assert.strictEqual((yield* Fiber.join(waiting)).id, "a")
      other.close()
    }))

  it.effect("takes row ids beyond 2^53, and transactions around them", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE large (id INTEGER PRIMARY KEY, text TEXT)`
      yield* sql.withTransaction(sql`INSERT INTO large VALUES (${2n ** 60n}, 'kept')`)
      assert.deepStrictEqual(yield* sql`SELECT text FROM large`.values, [["kept"]])
      const thrown = yield* Effect.flip(sql.withTransaction(Effect.andThen(sql`INSERT INTO large VALUES (1, 'gone')`, Effect.fail("no"))))
      assert.strictEqual(thrown, "no")
      assert.deepStrictEqual(yield* sql<{ n: number }>`SELECT count(*) AS n FROM large`, [{ n: 1 }])
    }).pipe(Effect.provide(Sqlite.layer({ filename: ":memory:" }))))
})
