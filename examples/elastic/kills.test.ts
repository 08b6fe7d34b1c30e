import { assert, describe, it } from "@effect/vitest"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import * as Journal from "@phalanx/elastic/Journal"
import type { Request } from "@phalanx/elastic/Resizable"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as Load from "@phalanx/moe/testing/Load"
import * as OsProcess from "@phalanx/node/OsProcess"
import { Effect, Fiber, Option, Stream } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as DyingSteps from "../../test/harness/dyingSteps.ts"
import { describe as describeOnRay, environment } from "../../test/harness/ray.ts"
import { prepare } from "./driver.ts"
import { cluster, type Line, operations, options } from "./group.ts"

/** Runs a driver that is killed at a point: what it has said; none if it had ended before it came there. */
const kill = (folder: string, request: Request, point: string, kind: string): Effect.Effect<Option.Option<ReadonlyArray<Line>>> =>
  Effect.callback((resume) => {
    let said = ""
    const args = [join(import.meta.dirname, "test", "victim.ts"), folder, JSON.stringify(request), point, kind]
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
    child.stdout.setEncoding("utf8").on("data", (text: string) => said += text)
    child.once("close", (code, signal) =>
      resume(
        signal === "SIGKILL"
          ? Effect.sync(() => Option.some(said.trim().split("\n").map((line) => JSON.parse(line) as Line)))
          : code === 0
          ? Effect.succeedNone
          : Effect.die(new Error(`${point}: ${code}`))
      ))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "phalanx-model-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const up: Request = { to: { dp: 3, tp: 1 } }
const down: Request = { leave: [0] }

/** Kills a driver at a point and lets this process be its successor: the texts of all that had been accepted; none if it had ended before. */
const survive = Effect.fnUntraced(function*(request: Request, point: string, kind: string) {
  const where = yield* folder
  prepare(where)
  const lines = yield* kill(where, request, point, kind)
  if (Option.isNone(lines)) return Option.none()
  const [first] = lines.value
  if (first === undefined || !("group" in first)) throw new Error("the driver has not said which group it has")
  const { group, pids } = first
  const accepted = lines.value.flatMap((line) => "accepted" in line ? [line.accepted] : [])

  const texts = yield* Effect.gen(function*() {
    const ranks = yield* WorkerGroup.adopt(Moe.Moe, { ...options(2, 6), group })
    const generator = yield* Generator.adopt({ ranks, requests: 8 })
    const known = yield* generator.requests
    assert.includeMembers(known.map(({ id }) => id), accepted)
    assert.isTrue(known.some(({ state }) => state === "open"), "nothing was left to do")
    const reading = yield* Effect.forkScoped(
      Effect.forEach(accepted, (id) =>
        Effect.map(Stream.runCollect(generator.attach(id)), (events): Load.Text => ({
          n: Number(id),
          bytes: events.flatMap((event) => event._tag === "Byte" ? [event.byte] : [])
        })), { concurrency: "unbounded" })
    )
    const resizable = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
    const journal = yield* Journal.Journal
    const left = yield* journal.operation("first")
    const decided = Option.isSome(left) && left.value.state !== "preparing"
    const adopted = yield* Effect.exit(Elastic.adopt(resizable))
    if (Option.isSome(left)) assert.strictEqual(adopted._tag, decided ? "Success" : "Failure")
    // The target or what there was, with the processes that there were.
    assert.deepStrictEqual(ranks.workers.map(({ id }) => id), decided ? ("to" in request ? [0, 1, 2] : [1]) : [0, 1])
    for (const { id, pid } of ranks.workers) if (id < 2) assert.strictEqual(pid, pids[id])
    const texts = yield* Fiber.join(reading)
    const usage = yield* ranks.call.usage()
    for (const { recomputed } of usage) assert.strictEqual(recomputed, 0)
    return texts
  }).pipe(Effect.scoped, Effect.provide([cluster(where, kind), operations(where)]))
  assert.deepStrictEqual([pids.filter((pid) => OsProcess.lives(OsProcess.of(pid!))), readdirSync(join(where, "registry"))], [[], []])
  assert.deepStrictEqual(readdirSync(where).filter((file) => file.startsWith("phalanx-")), [])
  return Option.some(texts)
}, Effect.scoped)

/** The lines that an operation which succeeds leaves in the journal; the seventh is the decision. */
const writes = 12
const every = [
  ...Array.from({ length: writes }, (_, index) => [`before ${index + 1}`, `after ${index + 1}`]).flat(),
  ...DyingSteps.points,
  ...["prepare 300", "copy 20", "copy 60", "copy 200", "commit 5", "commit 15", "commit 40", "retire 5", "abort 10"].map((step) =>
    `in ${step}`
  ),
  "before begin",
  "after begin"
]
// `pnpm elastic:kills` goes through all of them, both ways. One that grows and is decided is killed by the example itself.
const all = process.env["PHALANX_KILLS"] === "all"
const sample = [[up, "in copy"], [down, "after begin"]] as const

const surviveAll = Effect.fnUntraced(function*(kind: string) {
  const cases = all ? every.flatMap((point) => [[up, point] as const, [down, point] as const]) : sample
  const outcomes = yield* Effect.forEach(cases, ([request, point]) =>
    survive(request, point, kind).pipe(
      Effect.catchDefect((defect) =>
        Effect.die(
          new Error(`killed ${point}, ${JSON.stringify(request)}: ${defect instanceof Error ? defect.message : String(defect)}`, {
            cause: defect
          })
        )
      )
    ), { concurrency: 2 })
  assert.isTrue(outcomes.every(Option.isSome), "a point was never reached")
  // A request's text is the same wherever it was interrupted, and what one rank writes.
  const texts = new Map<number, Load.Text>()
  for (const text of outcomes.flatMap(Option.toArray).flat()) {
    const other = texts.get(text.n)
    if (other === undefined) texts.set(text.n, text)
    else assert.deepStrictEqual(text, other)
  }
  assert.strictEqual(yield* Load.compare([...texts.values()]), texts.size)
})

describe("the model's ranks whose driver is killed while they change their number and write", () => {
  it.live(
    "MO-13 AD-7: every accepted request is answered, as if nothing had happened, with nothing computed twice, in the membership before or in the one asked for, at whichever point",
    () => surviveAll("node"),
    all ? 1_200_000 : 120_000
  )

  // A driver on Ray costs seconds of a processor, and so does its successor: with PHALANX_RAY `all`.
  describeOnRay("on Ray", () => {
    it.live.skipIf(process.env["PHALANX_RAY"] !== "all")(
      "MO-13 AD-7: the same holds where agents of Ray keep the workers",
      () => Effect.andThen(Effect.map(environment, (found) => Object.assign(process.env, found)), surviveAll("ray")),
      all ? 3_600_000 : 240_000
    )
  })
})
