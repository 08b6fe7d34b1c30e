import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Hosts from "../../test/harness/hosts.ts"
import { run } from "../../test/harness/program.ts"
import { describe } from "../../test/harness/ray.ts"

describe("examples/ray-hosts", () => {
  it.live("RY-1: writes on three hosts, a rank on each, what one machine writes", () =>
    Effect.gen(function*() {
      const { code, stdout } = yield* run("examples/ray-hosts/main.ts", "river")
      const [first, second, third, ...text] = stdout.split("\n")
      assert.strictEqual(code, 0)
      assert.strictEqual(first, "rank 0 on 10.77.0.1")
      assert.deepStrictEqual([second!.slice(-1), third!.slice(-1)].toSorted(), ["2", "3"])
      assert.deepStrictEqual(text, [
        "river",
        "n 1: a large natural stream of water (larger than a creek); \"the river was navigable for 50 miles\"",
        ""
      ])
    }), 120_000)
}, Hosts.obstacle)
