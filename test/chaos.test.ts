import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as faults from "./harness/faults.ts"
import * as ledgers from "./harness/ledger.ts"
import { run } from "./harness/program.ts"
import { Random } from "./harness/random.ts"

describe("chaos", () => {
  it.live(
    "CO-1 CO-10 SU-1 SU-2 HB-1: a fault of each kind on real processes: no call is lost, doubled or hung, and nothing is left behind",
    () =>
      Effect.gen(function*() {
        const { code, stderr, stdout } = yield* run("scripts/chaos.ts", "--faults", "8", "--ranks", "2", "--json")
        const ledger = JSON.parse(stdout.trim().split("\n").at(-1)!)
        const { calls, doubled, failed, hung, leaked, lost, replied } = ledger
        assert.deepStrictEqual({ doubled, hung, leaked, lost }, { doubled: 0, hung: 0, leaked: 0, lost: 0 }, stderr)
        assert.strictEqual(replied + failed, calls)
        assert.isAbove(replied, 20)
        assert.isAbove(failed, 0)
        // Filling a folder takes a folder of one's own.
        const missing = stderr.includes("without fillShm") ? ["fillShm"] : []
        assert.sameMembers([...Object.keys(ledger.verbs), ...missing], [...faults.verbs])
        assert.strictEqual(code, 0)
      })
  )
})

describe("a deck of faults", () => {
  it("has a twentieth of each kind at least, and one of each if it can", () => {
    for (let seed = 0; seed < 50; seed++) {
      const counts = (count: number) => {
        const deck = faults.deck(count, new Random(seed), [])
        assert.strictEqual(deck.length, count)
        return faults.verbs.map((verb) => deck.filter((other) => other === verb).length)
      }
      assert.isAtLeast(Math.min(...counts(1000)), 50)
      assert.isAtLeast(Math.min(...counts(8)), 1)
    }
  })
})

describe("the ledger", () => {
  /** The books after calls of two ranks, each with what became of it, and with what workers noted. */
  const books = (outcomes: ReadonlyArray<ReadonlyArray<ReadonlyArray<object>>>, notes: ReadonlyArray<string>) => {
    const ledger = ledgers.make()
    outcomes.forEach((outcomes, call) => {
      ledger.hear({ _tag: "Intent", call, group: "g", asks: "call ping", ranks: [0, 1], at: 0 })
      for (const ends of outcomes) ledger.hear({ _tag: "Outcome", call, ends: ends as any, at: 0 })
    })
    const { doubled, failed, hung, lost, replied } = ledger.balance(notes.join("\n"))
    return { doubled, failed, hung, lost, replied }
  }
  const clean = { doubled: 0, failed: 0, hung: 0, lost: 0, replied: 0 }
  const reply = (call: number) => [0, 1].map((rank) => ({ rank, answers: call }))

  it("counts calls that were answered by every rank that had run them", () =>
    assert.deepStrictEqual(books([[reply(0)]], ["0 0", "0 1"]), { ...clean, replied: 1 }))

  it("counts calls that failed with what the contract names", () =>
    assert.deepStrictEqual(books([[[{ rank: 1, failed: "WorkerDied" }]]], ["0 0"]), { ...clean, failed: 1 }))

  it("has lost a call whose failure the contract does not name, that was answered for another one, or by too few ranks", () => {
    const ends = [[{ rank: -1, failed: "not typed: TypeError" }], reply(7), [{ rank: 0, answers: 2 }]]
    assert.deepStrictEqual(books(ends.map((ends) => [ends]), ["0 0", "0 1", "1 0", "1 1", "2 0"]), { ...clean, lost: 3 })
  })

  it("has lost a call that was answered by a rank that had not run it", () =>
    assert.deepStrictEqual(books([[reply(0)]], ["0 0"]), { ...clean, lost: 1 }))

  it("has doubled a call that ended twice, or that one rank ran twice", () =>
    assert.deepStrictEqual(books([[reply(0), reply(0)], [reply(1)]], ["0 0", "0 1", "1 0", "1 1", "1 1"]), {
      ...clean,
      doubled: 2,
      replied: 2
    }))

  it("has hung a call that has not ended", () => assert.deepStrictEqual(books([[]], ["0 0"]), { ...clean, hung: 1 }))
})
