/** The tables of a journal, version by version. What has been released does not change; what is new comes after it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"

/** All versions, the oldest first. */
export const migrations = Migrator.fromRecord({
  "0001_workflows": Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const number = sql.onDialectOrElse({
      pg: () => "BIGSERIAL PRIMARY KEY",
      orElse: () => "INTEGER PRIMARY KEY AUTOINCREMENT"
    })
    yield* sql`CREATE TABLE phalanx_executions (
      number ${sql.literal(number)},
      id TEXT NOT NULL UNIQUE,
      workflow TEXT NOT NULL,
      payload TEXT NOT NULL,
      result TEXT,
      interrupted INTEGER NOT NULL
    )`
    yield* sql`CREATE TABLE phalanx_activities (
      execution TEXT NOT NULL,
      name TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      exit TEXT NOT NULL,
      PRIMARY KEY (execution, name, attempt)
    )`
    yield* sql`CREATE TABLE phalanx_deferreds (
      execution TEXT NOT NULL,
      name TEXT NOT NULL,
      exit TEXT NOT NULL,
      PRIMARY KEY (execution, name)
    )`
    yield* sql`CREATE TABLE phalanx_clocks (
      execution TEXT NOT NULL,
      name TEXT NOT NULL,
      deadline BIGINT NOT NULL,
      PRIMARY KEY (execution, name)
    )`
  }),
  "0002_operations": Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE phalanx_operations (
      id TEXT PRIMARY KEY,
      group_id TEXT NOT NULL,
      request TEXT NOT NULL,
      state TEXT NOT NULL,
      cancelled INTEGER NOT NULL,
      outcome TEXT
    )`
    yield* sql`CREATE UNIQUE INDEX phalanx_operations_unended ON phalanx_operations (group_id) WHERE state <> 'ended'`
  }),
  "0003_endings": Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql`ALTER TABLE phalanx_operations ADD COLUMN ended BIGINT`
    // When it was, nobody knows: not later than now.
    yield* sql`UPDATE phalanx_operations SET ended = ${yield* Clock.currentTimeMillis} WHERE state = 'ended'`
    yield* sql`CREATE INDEX phalanx_operations_ended ON phalanx_operations (ended)`
  })
})
