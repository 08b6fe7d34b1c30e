import { assert, describe, it } from "@effect/vitest"
import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Elastic from "@phalanx/elastic/Elastic"
import type { JournalError, ResizeError, ScaleFailed, Step } from "@phalanx/elastic/ElasticError"
import type { Resize } from "@phalanx/elastic/Resizable"
import * as ElasticRanks from "@phalanx/moe/ElasticRanks"
import * as Generator from "@phalanx/moe/Generator"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { failing } from "./harness/failingJournal.ts"

const temporary = (folder: string) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(folder, "phalanx-faults-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

/** With a folder of segments and a registry of its own: nobody else sweeps what is left by those that are killed. */
const inFolder = <A, E, R>(use: (folder: string) => Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.gen(function*() {
    const folder = yield* temporary("/dev/shm")
    const registry = join(yield* temporary(tmpdir()), "registry")
    return yield* Effect.provide(use(folder), NodeCluster.layerWith({ folder, registry, output: "ignore" }))
  }))

/** Processes that this one has started, on whichever of its threads. */
const children = (): ReadonlyArray<number> =>
  readdirSync("/proc/self/task").flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, "utf8").split(" ").filter(Boolean).map(Number)
  )

describe("a change of size of the model's ranks, in processes", () => {
  it.live(
    "MO-12: SIGKILL of a rank in any step, a newcomer that is killed, never ready or throws, too little room and a journal that is full: back before the decision, forward after it, and nothing is left of either",
    () =>
      inFolder((folder) =>
        Effect.gen(function*() {
          const fickle = join(yield* temporary(tmpdir()), "fickle")
          const entry = new URL("./harness/fickleModel.ts", import.meta.url)
          entry.searchParams.set("file", fickle)
          const ranks = yield* WorkerGroup.make(Moe.Moe, {
            name: "faults",
            mesh: Mesh.make({ dp: 2, tp: 1 }),
            capacity: 5,
            entry,
            supervision: Supervision.restart({ max: 20, per: "1 minute", backoff: "1 millis" })
          })
          const full = yield* Ref.make(Option.none<JournalError["reason"]>())
          const generator = yield* Generator.make({ ranks })
          const wanted = ["actor", "black hole", "moon", "hack"].map((word, i) => ({
            prompt: Generator.headword(word),
            maxTokens: 30,
            sampling: { temperature: i % 2 === 0 ? 0 : 0.7, seed: i }
          }))
          const write = Effect.forEach(wanted, generator.generate, { concurrency: "unbounded" })
          const expected = yield* write
          /** What the driver and the rank that lives throughout have open, and what files there are. */
          const held = () => [`/proc/self/fd`, `/proc/${ranks.workers[0]!.pid}/fd`, folder].map((path) => readdirSync(path).length)
          const group = ElasticRanks.make({ ranks, generator, bandwidth: 1e9 })
          let operations = 0

          yield* Effect.gen(function*() {
            /** SIGKILL, and the news of it. */
            const kill = Effect.gen(function*() {
              const { incarnation } = ranks.workers[1]!
              yield* Effect.orDie(ranks.kill(1))
              while (ranks.workers[1]?.incarnation === incarnation) yield* Effect.yieldNow
            })
            /** A step before which something else happens. */
            const after = <A>(first: Effect.Effect<unknown>, step: (resize: Resize) => Effect.Effect<A, ResizeError>) => (resize: Resize) =>
              Effect.andThen(first, step(resize))
            /** While four texts are written, which are what they have to be. */
            const scale = Effect.fnUntraced(function*(over: typeof group, dp: number, deadline?: "1 second") {
              const texts = yield* Effect.forkChild(write, { startImmediately: true })
              const outcome = yield* Effect.exit(
                Elastic.scale(over, {
                  to: { dp, tp: 1 },
                  operation: `change-${++operations}`,
                  ...(deadline === undefined ? {} : { deadline })
                })
              )
              assert.deepStrictEqual(yield* Fiber.join(texts), expected)
              return yield* outcome
            })
            /** It has failed in that step, with two ranks that serve as before and the reason in the status. */
            const fails = Effect.fnUntraced(function*(over: typeof group, step: Step, reason: string, dp = 3, deadline?: "1 second") {
              const { epoch } = yield* group.serving
              const failed = (yield* Effect.flip(scale(over, dp, deadline))) as ScaleFailed
              assert.deepStrictEqual(
                [failed._tag, failed.step, failed.committed, failed.reason._tag],
                ["ScaleFailed", step, false, reason],
                failed.message
              )
              assert.deepStrictEqual(yield* group.serving, { epoch, shape: { dp: 2, tp: 1 }, members: [0, 1] })
              const { failure, state } = yield* Elastic.status(`change-${operations}`)
              assert.deepStrictEqual([state, failure], ["failed", failed])
              // It waits for a restart.
              yield* ranks.call.describe()
              return failed.message
            })

            yield* fails({ ...group, copy: after(kill, group.copy) }, "copy", "Refused")
            yield* write
            const before = held()
            yield* fails({ ...group, ready: after(kill, group.ready) }, "ready", "Refused")
            // In the midst of it: who joins is being started.
            const prepare: typeof group.prepare = (resize) =>
              Effect.asVoid(Effect.all([group.prepare(resize), Effect.andThen(Effect.yieldNow, kill)], { concurrency: 2 }))
            yield* fails({ ...group, prepare }, "prepare", "Refused")

            // One that is prepared is no rank yet: its death is none of the group's.
            const workers = () => ranks.workers.flatMap(({ pid }) => pid ?? [])
            const serving = workers()
            const others = children().filter((pid) => !serving.includes(pid))
            const newcomer = Effect.sync(() => {
              const known = [...others, ...workers()]
              const joining = children().filter((pid) => !known.includes(pid))
              assert.strictEqual(joining.length, 1)
              process.kill(joining[0]!, "SIGKILL")
            })
            assert.include(yield* fails({ ...group, copy: after(newcomer, group.copy) }, "copy", "Refused"), "is gone")
            assert.deepStrictEqual(workers(), serving)

            assert.include(
              yield* fails(group, "prepare", "Refused", 9),
              "9 members at once are more than the group has room for, which is 5"
            )
            writeFileSync(fickle, "out of memory, say")
            assert.include(yield* fails(group, "prepare", "Refused"), "out of memory, say")
            writeFileSync(fickle, "")
            assert.include(yield* fails(group, "prepare", "DeadlineExceeded", 3, "1 second"), "it was not ready after 1000 ms")
            writeFileSync(fickle, "room 1")
            // More run than fit, and stay where they are until that is known.
            const poor: typeof group.copy = (resize) =>
              Effect.gen(function*() {
                const more = yield* Effect.forkChild(write, { startImmediately: true })
                while ((yield* generator.load).running.reduce((sum, count) => sum + count) < 4) yield* Effect.yieldNow
                yield* Effect.orDie(generator.pause("keep"))
                const exit = yield* Effect.exit(group.copy(resize))
                yield* generator.resume
                assert.deepStrictEqual(yield* Effect.orDie(Fiber.join(more)), expected)
                return yield* exit
              })
            assert.match(
              yield* fails({ ...group, copy: poor }, "copy", "Refused"),
              /[4-8] requests run, and 3 owners, the poorest of which has room for 1, cannot hold them/
            )
            writeFileSync(fickle, "room 2")
            const fill = Ref.set(full, Option.some("full" as const))
            const empty = Ref.set(full, Option.none())
            const written = yield* Effect.forkChild(Effect.flip(scale({ ...group, copy: after(fill, group.copy) }, 3)), {
              startImmediately: true
            })
            assert.deepInclude((yield* Fiber.join(written)) as ScaleFailed, { step: "copy", committed: false })
            yield* empty
            assert.deepStrictEqual((yield* group.serving).members, [0, 1])

            // Past the point of no return there is one way.
            assert.deepStrictEqual(
              (yield* scale({ ...group, commit: after(yield* Effect.cached(Effect.andThen(newcomer, kill)), group.commit) }, 3)).to.shape,
              {
                dp: 3,
                tp: 1
              }
            )
            yield* ranks.call.describe()
            // Two of three have room for two each: from then on no owner has more.
            const many = yield* Effect.forkChild(Effect.all([write, write], { concurrency: 2 }), { startImmediately: true })
            while ((yield* generator.load).running.join() !== "2,2,2") yield* Effect.yieldNow
            assert.deepStrictEqual(yield* Fiber.join(many), [expected, expected])
            assert.deepStrictEqual((yield* scale({ ...group, retire: after(yield* Effect.cached(kill), group.retire) }, 2)).to.shape, {
              dp: 2,
              tp: 1
            })
            rmSync(fickle)
            yield* write
            const same = yield* Effect.repeat(Effect.sync(() => held().join() === before.join()), {
              until: (same) => same,
              schedule: Schedule.max([Schedule.spaced("20 millis"), Schedule.during("10 seconds")])
            })
            assert.isTrue(same, `${before}, now ${held()}`)
          }).pipe(Effect.provide(failing(full)))
        })
      ),
    120_000
  )
})
