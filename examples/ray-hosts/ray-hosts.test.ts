import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Hosts from "../../test/harness/hosts.ts"
import { run } from "../../test/harness/program.ts"
import { describe } from "../../test/harness/ray.ts"

/** It writes on the hosts of packages/ray/test/hosts.test.ts each time. */
const obstacle = () =>
  process.env["PHALANX_RAY"] === "all" ? Hosts.obstacle() : "three more hosts take ten seconds of a processor, and PHALANX_RAY is not `all`"

describe("examples/ray-hosts", () => {
  it.live("RY-1: makes three hosts, and writes on them what one machine writes", () =>
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
}, obstacle)
