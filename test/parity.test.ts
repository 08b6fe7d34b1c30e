import { assert, describe, it } from "@effect/vitest"
import { disagreements } from "../scripts/parity.ts"

const tests = ["order > QU-1: frames arrive in the order of their writing", "a worker that dies fails its call"]
const semantics = "# Guarantees\n\n- **QU-1** Frames arrive in order.\n"
const table = (...rows: ReadonlyArray<string>) => ["| id | behaviour | test |", "|---|---|---|", ...rows].join("\n")

const refuses = (sentence: RegExp, parity: string, labels = semantics) => {
  const found = disagreements(parity, labels, tests)
  assert.strictEqual(found.length, 1, found.join("\n"))
  assert.match(found[0]!, sentence)
}

describe("parity", () => {
  it("accepts tests by title or by full name, several in a row, and rows set aside for a stated reason", () => {
    const parity = table(
      "| D1.1 | Order. | QU-1: frames arrive in the order of their writing · a worker that dies fails its call |",
      "| D1.2 | Order. | order > QU-1: frames arrive in the order of their writing |",
      "| D1.3 [C] | Graphs. | does not apply: there is no graph to capture |",
      "| D1.4 | A lock. | does not apply: upstream workaround for a lock that is not taken here |"
    )
    assert.deepStrictEqual(disagreements(parity, semantics, tests), [])
  })

  it("refuses a row that names no test", () =>
    refuses(/D1\.1 names a test that does not exist: nothing/, table("| D1.1 | Order. | nothing |")))

  it("refuses a row set aside that the marks do not excuse", () =>
    refuses(/D1\.1 may not be set aside/, table("| D1.1 | Order. | does not apply: too hard |")))

  it("refuses a row set aside without a reason", () =>
    refuses(/D1\.1 \[H\] gives no reason/, table("| D1.1 [H] | Order. | does not apply |")))

  it("refuses a row that is not three cells, or that stands twice", () => {
    const row = "| D1.1 | Order. | a worker that dies fails its call |"
    refuses(/not a row of three cells/, table(row, "| D1.2 | Order. |"))
    refuses(/D1\.1 stands twice/, table(row, row))
  })

  it("refuses a label without a test, and a test with a label of its own", () => {
    const parity = table("| D1.1 | Order. | a worker that dies fails its call |")
    refuses(/no test bears QU-2/, parity, `${semantics}- **QU-2** No loss.\n`)
    assert.deepStrictEqual(disagreements(parity, "- **QU-2** No loss.\n", tests), [
      "SEMANTICS.md: no test bears QU-2",
      "a test bears QU-1, which SEMANTICS.md does not define"
    ])
  })
})
