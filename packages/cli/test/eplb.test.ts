import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { readFileSync } from "node:fs"
import { run } from "../../../test/harness/program.ts"
import * as Eplb from "../src/Eplb.ts"

const vectors = "packages/elastic/test/fixtures/eplb-vectors.json"

describe("phalanx eplb", () => {
  it.live("EP-1: plans every entry of a file, and prints nothing but the plans", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("packages/cli/phalanx.mjs", "eplb", vectors)
      assert.deepStrictEqual([code, stderr], [0, ""])
      const { rebalance } = JSON.parse(readFileSync(new URL(`../../../${vectors}`, import.meta.url), "utf8"))
      assert.deepStrictEqual(JSON.parse(stdout), {
        rebalance: rebalance.map(({ name, outputs }: Eplb.Plan) => ({ name, outputs }))
      })
    }))

  it.live("a file that does not say what is needed is told by its name on standard error, with no stack", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("packages/cli/phalanx.mjs", "eplb", "package.json")
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.match(stderr, /package\.json: Missing key\s+at \["rebalance"\]/)
      assert.notInclude(stderr, "    at ")
    }))

  it.effect("the file in the README is planned", () =>
    Effect.gen(function*() {
      const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8")
      const files = yield* FileSystem.FileSystem
      const path = yield* files.makeTempFileScoped()
      yield* files.writeFileString(path, /^```json\n(\{ "rebalance"[^]*?)```$/m.exec(readme)![1]!)
      const [plan] = yield* Eplb.plan(path)
      assert.deepStrictEqual([plan!.name, plan!.outputs.logcnt], ["today", [[3, 1, 1, 1]]])
    }).pipe(Effect.provide(NodeServices.layer)))

  it.effect("EP-8: an entry that cannot be planned is named, with what is wrong with it", () =>
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const path = yield* files.makeTempFileScoped()
      const refuses = Effect.fnUntraced(function*(text: string, issue: RegExp) {
        yield* files.writeFileString(path, text)
        const error = yield* Effect.flip(Eplb.plan(path))
        assert.strictEqual(error._tag, "Failed")
        assert.isTrue(error.text.startsWith(path))
        assert.match(error.text, issue)
      })
      const inputs = { weight: [[1, 2, 3, 4]], numReplicas: 4, numGroups: 1, numNodes: 1, numRanks: 2 }
      const entry = (changed: object) => JSON.stringify({ rebalance: [{ name: "mine", inputs: { ...inputs, ...changed } }] })
      yield* refuses("{", /: Expected a valid JSON string/)
      yield* refuses("[]", /: Expected object/)
      yield* refuses(entry({ numRanks: 0 }), /\["inputs"\]\["numRanks"\]/)
      yield* refuses(entry({ weight: [["much"]] }), /\["weight"\]\[0\]\[0\]/)
      yield* refuses(entry({ weight: [[-1, 1, 1, 1]] }), /, "mine": load of layer 0, expert 0: -1 is not a load/)
      yield* refuses(entry({ numRanks: 3 }), /, "mine": physical: 4 slots do not divide over 3 members/)
      yield* refuses(entry({ oldPhy2log: [[0, 1, 2]] }), /, "mine": layer 0: 3 slots for 2 members/)
      yield* files.writeFileString(path, entry({ oldPhy2log: null }))
      assert.deepStrictEqual((yield* Eplb.plan(path)).map(({ name }) => name), ["mine"])
    }).pipe(Effect.provide(NodeServices.layer)))
})
