import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run, runIn } from "../../test/harness/program.ts"
import { describe as describeOnRay, environment } from "../../test/harness/ray.ts"

/** So many requests write at a time: enough for a change to be felt by some of them. */
const few = ["--json", "--requests", "8"]

/** What the program printed last says that nothing was lost, and that each change was felt by requests and did not stop them. */
const holds = (stdout: string, sizes: ReadonlyArray<number>): void => {
  const { completed, identical, recomputed, requests, scalings } = JSON.parse(stdout.trim().split("\n").at(-1)!)
  assert.isAbove(requests, 15)
  assert.deepStrictEqual([completed, identical, recomputed], [requests, requests, 0])
  assert.deepStrictEqual(scalings.map((scaling: any) => [scaling.from, scaling.to]), sizes.slice(1).map((to, i) => [sizes[i], to]))
  for (const { across, ownedWithin, pauseMs, steps, totalMs } of scalings) {
    assert.isAtLeast(across, 4)
    assert.isBelow(ownedWithin, 20)
    assert.isBelow(pauseMs, totalMs)
    assert.deepStrictEqual(Object.keys(steps), ["validate", "prepare", "copy", "ready", "decide", "commit", "retire"])
  }
}

/** Another driver has gone from one size to the other with the processes that there were, and every request. */
const isCarriedOn = (stdout: string, [from, to]: readonly [number, number]): void => {
  const { accepted, completed, identical, kept, lost, recomputed, requests, scalings, signal } = JSON.parse(stdout)
  assert.deepStrictEqual([signal, lost, kept], ["SIGKILL", 0, from])
  assert.isAtLeast(accepted, 8)
  assert.isAtLeast(requests, accepted)
  assert.deepStrictEqual([completed, identical, recomputed], [requests, requests, 0])
  assert.deepStrictEqual(scalings.map((scaling: any) => [scaling.from, scaling.to]), [[from, to]])
  assert.isAtLeast(scalings[0].across, 4)
}

describe("examples/elastic", () => {
  it.live("MO-11: loses no request and changes no text while the group grows and shrinks", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/elastic/main.ts", ...few, "--sizes", "1,2,1")
      assert.deepStrictEqual([code, stderr], [0, ""])
      holds(stdout, [1, 2, 1])
    }))

  it.live("MO-13: is carried on by another process that asks for the same requests, of which none is lost", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run("examples/elastic/main.ts", ...few, "--kill-driver", "--sizes", "1,2")
      assert.deepStrictEqual([code, stderr], [0, ""])
      isCarriedOn(stdout, [1, 2])
    }))

  describeOnRay("--cluster ray", () => {
    it.live("MO-11: loses no request and changes no text while its group on Ray grows and shrinks", () =>
      Effect.gen(function*() {
        const { code, stdout } = yield* runIn(
          yield* environment,
          "examples/elastic/main.ts",
          ...few,
          "--sizes",
          "1,2,1",
          "--cluster",
          "ray"
        )
        assert.strictEqual(code, 0)
        holds(stdout, [1, 2, 1])
      }), 120_000)

    it.live.skipIf(process.env["PHALANX_RAY"] !== "all")(
      "MO-13: --kill-driver is carried on where agents of Ray keep the workers",
      () =>
        Effect.gen(function*() {
          const { code, stdout } = yield* runIn(
            yield* environment,
            "examples/elastic/main.ts",
            ...few,
            "--kill-driver",
            "--sizes",
            "2,3",
            "--cluster",
            "ray"
          )
          assert.strictEqual(code, 0)
          isCarriedOn(stdout, [2, 3])
        }),
      120_000
    )
  })
})
