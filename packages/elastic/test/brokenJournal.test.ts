import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import * as TestClock from "effect/testing/TestClock"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Elastic from "../src/Elastic.ts"
import type { ScaleFailed } from "../src/ElasticError.ts"
import * as Journal from "../src/Journal.ts"
import * as Sqlite from "../src/Sqlite.ts"
import { four, isAsBefore, told } from "./told.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-journal-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** What happens to a file under the hands of the process that has it open, and how that ends, if it does. */
interface Way {
  readonly issue: RegExp
  readonly strike: (filename: string) => Effect.Effect<void, never, SqlClient.SqlClient>
  readonly mend?: Effect.Effect<void, never, SqlClient.SqlClient>
}

const pageSize = 512
const pages = (count: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.orDie(Effect.asVoid(sql`PRAGMA max_page_count = ${sql.literal(String(count))}`)))
/** No page more than there are, and no room in those. */
const fill = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* pages(1)
  let row = 0
  const more = Effect.suspend(() => sql`INSERT INTO phalanx_activities VALUES ('other', ${row++}, 1, '')`)
  yield* Effect.ignore(Effect.forever(more))
})

/** Other bytes at a place of the file, which is what the process that has it open reads next. */
const overwritten = (place: (database: DatabaseSync) => readonly [from: number, bytes: number], issue: RegExp): Way => ({
  issue,
  strike: (filename) =>
    Effect.sync(() => {
      const other = new DatabaseSync(filename)
      other.exec("PRAGMA wal_checkpoint(TRUNCATE)")
      const [from, bytes] = place(other)
      other.close()
      writeFileSync(filename, readFileSync(filename).fill(0xa5, from, from + bytes), { flag: "r+" })
    })
})
const pageOf = (table: string) => (database: DatabaseSync) => {
  const { rootpage } = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?").get(table)!
  return [(Number(rootpage) - 1) * pageSize, pageSize] as const
}

const ways: Readonly<Record<string, Way>> = {
  "is full": {
    issue: /: database or disk is full\. Make room where the journal lies/,
    strike: () => fill,
    mend: pages(100_000)
  },
  "has its header overwritten": overwritten(() => [0, 100], /: file is not a database\. Put the journal aside/),
  "has a page in its middle overwritten": overwritten(
    pageOf("phalanx_activities"),
    /: database disk image is malformed\. Put the journal aside/
  )
}

describe("an operation whose file", () => {
  for (const [name, { issue, mend, strike }] of Object.entries(ways)) {
    /** An operation in a file of its own, to which that happens in one of its parts. */
    const struckIn = Effect.fnUntraced(function*(part: string) {
      const filename = join(yield* temporary, "journal.db")
      const database = new DatabaseSync(filename)
      database.exec(`PRAGMA page_size = ${pageSize}; VACUUM`)
      database.close()
      const context = yield* Layer.build(
        Elastic.layer.pipe(Layer.provideMerge(Journal.layer), Layer.provideMerge(Sqlite.layer({ filename })))
      )
      const once = yield* Effect.cached(Effect.provide(strike(filename), context))
      const { group, store } = told((now) => now === part ? once : Effect.void)
      const running = yield* Effect.forkChild(Effect.provide(Elastic.scale(group, { ...four, operation: "a" }), context), {
        startImmediately: true
      })
      return { context, filename, group, running, store }
    })

    it.effect(`WF-6: ${name} in the midst of it goes back before the decision, and says why`, () =>
      Effect.gen(function*() {
        const { context, filename, group, running, store } = yield* struckIn("copy")
        yield* Effect.gen(function*() {
          const failed = (yield* Effect.flip(Fiber.join(running))) as ScaleFailed
          assert.deepStrictEqual([failed.step, failed.committed, failed.reason._tag], ["copy", false, "JournalFailed"])
          assert.match(failed.message, issue)
          isAsBefore(store)
          assert.deepInclude(yield* Elastic.status("a"), { state: "failed", committed: false, failure: failed })
          if (mend === undefined) {
            const opened = yield* Effect.flip(Effect.scoped(Layer.build(Elastic.layerSqlite({ filename }))))
            return assert.deepInclude(opened, { operation: `open the journal ${filename}`, reason: "damaged" })
          }
          yield* mend
          assert.deepStrictEqual(yield* Effect.flip(Elastic.scale(group, { ...four, operation: "a" })), failed)
        }).pipe(Effect.provide(context))
      }))

    it.effect(`WF-6: ${name} in the midst of it is carried on after the decision, and says why it does not end`, () =>
      Effect.gen(function*() {
        const { context, group, running, store } = yield* struckIn("commit")
        yield* Effect.gen(function*() {
          const { committed, trouble } = yield* Effect.repeat(Effect.andThen(Effect.yieldNow, Elastic.status("a")), {
            until: ({ trouble }) => trouble !== undefined
          })
          assert.isTrue(committed)
          assert.match(trouble!, issue)
          yield* TestClock.adjust("10 minutes")
          const { serving } = store.read()
          assert.deepStrictEqual([serving.epoch, running.pollUnsafe()], [1, undefined])
          if (mend === undefined) {
            // Nothing of it is known to another journal, nor in its way.
            const other = Elastic.adopt(group).pipe(
              Effect.andThen(Elastic.scale(group, { to: { dp: 3, tp: 1 }, operation: "a" })),
              Effect.provide(Layer.fresh(Elastic.layerSqlite({ filename: ":memory:" })))
            )
            assert.deepInclude(yield* other, { changed: true, from: serving })
            return yield* Fiber.interrupt(running)
          }
          yield* mend
          yield* TestClock.adjust("5 seconds")
          assert.isTrue((yield* Fiber.join(running)).changed)
          assert.deepInclude(yield* Elastic.status("a"), { state: "done", committed: true })
        }).pipe(Effect.provide(context))
      }))
  }
})
