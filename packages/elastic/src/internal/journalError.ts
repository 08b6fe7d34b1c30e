/** What a database's error means to a journal. */
import type { SqlError } from "effect/sql/SqlError"
import { JournalError } from "../ElasticError.ts"

const advice = {
  full: "Make room where the journal lies, then try again",
  damaged: "Put the journal aside and restore it from a copy, or begin a new one: what it knew of unfinished operations is lost",
  unavailable: "Check that the journal's folder, file or server can be reached and written"
} as const

// https://www.sqlite.org/rescode.html: the low byte is the primary code.
const sqlite: Readonly<Record<number, JournalError["reason"]>> = { 11: "damaged", 13: "full", 26: "damaged" }
// https://www.postgresql.org/docs/current/errcodes-appendix.html
const postgres: Readonly<Record<string, JournalError["reason"]>> = { "53100": "full", XX001: "damaged", XX002: "damaged" }

/** A journal's error with its advice. */
export const make = (operation: string, reason: JournalError["reason"], issue: string): JournalError =>
  new JournalError({ operation, reason, issue, advice: advice[reason] })

/** From what a client of SQL fails with: SQLite's result code or PostgreSQL's state tells the reason. */
export const fromSql = (operation: string) => (error: SqlError): JournalError => {
  const cause = error.reason.cause as { readonly errno?: unknown; readonly code?: unknown } | undefined
  const reason = typeof cause?.errno === "number" ? sqlite[cause.errno & 0xff] : postgres[String(cause?.code)]
  return make(operation, reason ?? "unavailable", cause instanceof Error ? cause.message : error.message)
}
