import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { run } from "../../test/harness/program.ts"

describe("examples/hello", () => {
  it.live("answers with every rank's total, in rank order", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/hello/main.ts")
      assert.deepStrictEqual([code, stdout, stderr], [0, "[ 0, 1, 22, 33 ]\n", ""])
    }))

  it("stands in the README as it is, in 40 lines at most", () => {
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8")
    const files = ["worker.ts", "main.ts"].map((file) => readFileSync(new URL(file, import.meta.url), "utf8").trim())
    for (const file of files) assert.include(readme, file)
    assert.isAtMost(files.join("\n").split("\n").length, 40)
  })
})
