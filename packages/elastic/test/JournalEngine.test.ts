import * as PgClient from "@effect/sql-pg/PgClient"
import { layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Sqlite from "../src/Sqlite.ts"
import { Postgres } from "./postgres.ts"
import { cases } from "./workflows.ts"

/** A file of SQLite that is gone with the suite. */
class File extends Context.Service<File, string>()("test/File") {
  static readonly layer = Layer.effect(
    File,
    Effect.acquireRelease(
      Effect.sync(() => join(mkdtempSync(join(tmpdir(), "phalanx-journal-")), "journal.db")),
      (file) => Effect.sync(() => rmSync(join(file, ".."), { recursive: true, force: true }))
    )
  )
}

layer(File.layer)("workflows over SQLite", (it) => {
  for (const [name, run] of cases) {
    it.effect(name, () => Effect.flatMap(File, (filename) => run(Sqlite.layer({ filename }))))
  }
})

// Where there is no server, that is said once, and nothing is shown.
layer(Postgres.layer, { timeout: "60 seconds" })("workflows over PostgreSQL", (it) => {
  for (const [name, run] of cases) {
    it.effect(name, () =>
      Effect.flatMap(Postgres, (server) =>
        "absent" in server
          ? Effect.void
          : run(PgClient.layer({ path: server.socket, username: "phalanx", database: "postgres", maxConnections: 2 }))))
  }
})
