import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { Abort } from "../src/benches/Abort.ts"
import { Call } from "../src/benches/Call.ts"
import { Placing } from "../src/benches/Placing.ts"
import { Policy } from "../src/benches/Policy.ts"
import { Scaling } from "../src/benches/Scaling.ts"
import * as Depth from "../src/Depth.ts"
import * as Kept from "../src/Kept.ts"
import * as Report from "../src/Report.ts"
import * as Row from "../src/Row.ts"
import * as Section from "../src/Section.ts"
import * as Soak from "../src/Soak.ts"
import * as Systems from "../src/Systems.ts"
import * as Target from "../src/Target.ts"

describe("a bench", () => {
  it.live("asks every system, verifies its answers and reports them as one line of JSON", () =>
    Effect.gen(function*() {
      const rows = yield* Call.run(Depth.smoke)
      const { name, machine, rows: reported } = JSON.parse(Report.json({ bench: Call, rows, lines: [] }))
      assert.strictEqual(name, "call")
      assert.match(machine, /Node 2\d/)
      assert.deepStrictEqual(reported.map((row: { system: string }) => row.system), Systems.callable)
      for (const row of reported) {
        assert.deepStrictEqual(Object.keys(row), ["system", "workers", "bytes", "n", "p50", "p99"])
        assert.deepStrictEqual([row.workers, row.bytes], [1, 64])
        assert.isAtLeast(row.n, 10)
        assert.isAbove(row.p50, 0)
        assert.isAtLeast(row.p99, row.p50)
      }
    }))

  it.live("places a large model's experts, beside numpy where there is one, and compares the maps", () =>
    Effect.gen(function*() {
      const rows = yield* Placing.run(Depth.smoke)
      assert.strictEqual(rows[0]!.system, "phalanx")
      assert.include([1, 3], rows.length)
      for (const row of rows) assert.deepStrictEqual([row.workers, row.bytes, row.n], [32, 288, 5])
    }))

  it.live("measures a policy's price on a driver alone, whose answers are its own", () =>
    Effect.gen(function*() {
      const rows = yield* Policy.run(Depth.smoke)
      const settings = rows.map(({ system, workers }) => `${system} ${workers}`)
      assert.deepStrictEqual(settings, ["escalate 1", "restart 1", "escalate 8", "restart 8"])
      for (const row of rows) assert.isAbove(row.p50, 0)
    }))

  it.live("kills a rank that others wait for, and times their failure", () =>
    Effect.gen(function*() {
      const [row] = yield* Abort.run(Depth.smoke)
      assert.deepStrictEqual([row!.n, row!.workers], [1, 4])
    }))

  it.live("changes the size of a group under load, beside one that is stopped and started, and says what is held", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const rows = yield* Scaling.run(Depth.smoke, (line) => lines.push(line))
      const of = (system: string) => rows.find((row) => row.system === system)!
      assert.match(lines[0]!, /^2 → 1 in \d+ ms \(validate \d+, prepare \d+, .+\): a pause of [\d.]+ ms, .+; \d+ requests went on$/)
      assert.match(lines[1]!, /^2 → 1 in \d+ ms, stopped and started: \d+ ms without a token$/)
      assert.strictEqual(of("pause in steps").n, 1)
      // What either costs is this machine's affair; that it is measured is not. A pause may be shorter than a step, and is then none.
      assert.isTrue(Number.isFinite(of("pause").p50) && of("pause").p50 >= 0)
      for (const system of ["pause, stopped and started", "change", "change, stopped and started"]) {
        assert.strictEqual(of(system).n, 1)
        assert.isTrue(Number.isFinite(of(system).p50) && of(system).p50 > 0, system)
      }
      const [, requests, , identical] = /^(\d+) of (\d+) requests completed, (\d+) identical; 0 tokens computed twice$/.exec(lines.at(-1)!)!
      assert.strictEqual(requests, identical)
      assert.isAbove(of("rank's memory, late").p50, 10)
      assert.isAbove(of("files of the group, late").p50, 0)
      const found = Target.targets.filter(({ bench }) => bench === "scaling").map(({ judge }) => judge(rows)?.met)
      assert.deepStrictEqual(found.slice(0, 2), [false, true])
    }))

  it("draws rounds together by the median of their medians", () => {
    const rounds = [[1, 2, 3], [10, 20, 30], [4, 5, 6]].map((values) => ({ values, foreign: 0 }))
    const { n, p50, p99, spread } = Row.of("phalanx", { workers: 1, bytes: 64 }, rounds)
    assert.deepStrictEqual({ n, p50, p99, spread }, { n: 9, p50: 5, p99: 6, spread: [2, 20] })
  })
})

describe("results that are kept", () => {
  const row = Row.of("phalanx", { workers: 1, bytes: 64 }, [{ values: [1, 2, 3], foreign: 0 }])

  it.effect("are those of this machine at this depth, in whole lines", () =>
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const file = `${yield* files.makeTempDirectoryScoped()}/kept`
      assert.strictEqual((yield* Kept.read(file, Depth.smoke)).size, 0)
      const result = { bench: Call, rows: [row], lines: ["one", "two"] }
      yield* Kept.add(file, Depth.smoke, result)
      yield* files.writeFileString(file, `\n{"name":"fanout","machine":"another","depth":"smoke","rows":[],"lines":[]}\n{"name":"ho`, {
        flag: "a"
      })
      yield* Kept.add(file, Depth.smoke, { ...result, bench: Policy })
      const kept = yield* Kept.read(file, Depth.smoke)
      assert.deepStrictEqual([...kept.keys()], ["call", "policy"])
      assert.deepStrictEqual(kept.get("call"), result)
      assert.strictEqual((yield* Kept.read(file, Depth.full)).size, 0)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)))
})

describe("a soak", () => {
  const summary: Soak.Summary = {
    minutes: 10,
    calls: 1000,
    restarts: 5,
    driver: { early: 100e6, late: 104e6 },
    worker: { early: 100e6, late: 105e6 },
    descriptors: { before: 70, after: 70 }
  }

  it("is flat if memory stays within a twentieth and as many descriptors are open", () => {
    assert.isTrue(Soak.isFlat(summary))
    assert.isFalse(Soak.isFlat({ ...summary, driver: { early: 100e6, late: 106e6 } }))
    assert.isFalse(Soak.isFlat({ ...summary, descriptors: { before: 70, after: 71 } }))
  })

  it("takes its own place in the results, and no other section's", () => {
    const section = Soak.section(summary)
    const results = Section.into("# Results\n\n## call\n\nfast\n", "soak", section)
    assert.strictEqual(Section.of(results, "soak"), section)
    assert.strictEqual(Section.of(results, "call"), "## call\n\nfast\n")
    assert.strictEqual(Section.of(results, "ray"), undefined)
    assert.strictEqual(Section.into(results, "soak", section), results)
    assert.strictEqual(
      Section.into("# Results\n\n## soak\n\nold\n\n## call\n\nfast\n", "soak", section),
      `# Results\n\n${section}\n## call\n\nfast\n`
    )
  })

  it("is drawn with both lines and the spans that are compared", () => {
    const samples = [0, 5, 10].map((minute) => ({ minute, driver: 100e6 + minute * 1e6, worker: 80e6 }))
    const svg = Soak.plot(samples, summary)
    assert.strictEqual(svg.match(/<polyline/g)!.length, 2)
    assert.strictEqual(svg.match(/>compared</g)!.length, 2)
    assert.notMatch(svg, /NaN|undefined/)
  })
})
