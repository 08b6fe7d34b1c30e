import * as Mesh from "@phalanx/core/Mesh"
import * as Supervision from "@phalanx/core/Supervision"
import type { WorkerDied } from "@phalanx/core/WorkerError"
import * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Moe from "@phalanx/moe/Moe"
import * as NodeCluster from "@phalanx/node/NodeCluster"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import process from "node:process"
import type * as Bench from "../Bench.ts"
import * as Mortals from "../Mortals.ts"
import * as Row from "../Row.ts"

const ranks = 2
const setting = { workers: ranks, bytes: 0 }

/** When a rank was killed, its death told, and its next life's first answer in; in milliseconds since 1970, as flight recorders have it. */
interface Return {
  readonly killed: number
  readonly told: number
  readonly answered: number
}

const now = (): number => performance.timeOrigin + performance.now()

/** Kills rank 0 and asks it again; the death tells what the life that it ended had done. */
const revive = Effect.fnUntraced(function*(group: WorkerGroup.WorkerGroup<any, any>, ask: Effect.Effect<unknown, unknown>) {
  const pid = group.workers[0]!.pid!
  const death = Stream.runHead(Stream.filter(group.deaths, (died) => died.pid === pid))
  const news = yield* Effect.forkChild(Effect.map(death, () => now()), { startImmediately: true })
  const killed = now()
  process.kill(pid, "SIGKILL")
  const told = yield* Fiber.join(news)
  yield* Effect.mapError(ask, Mortals.failed)
  const died = yield* Stream.runHead(Stream.filter(group.deaths, (died) => died.pid === pid))
  return { died: (died as { readonly value: WorkerDied }).value, back: { killed, told, answered: now() } satisfies Return }
})

/** What the time from the kill to the first answer went to, by the flight recorder of the life that answered. */
const phases: ReadonlyArray<readonly [name: string, of: (back: Return, at: (kind: string) => number) => number]> = [
  ["restart", ({ answered, killed }) => answered - killed],
  ["the news", ({ killed, told }) => told - killed],
  ["a process", ({ told }, at) => at("import") - told],
  ["its module", (_, at) => at("setup") - at("import")],
  ["its layer", (_, at) => at("ready") - at("setup")],
  ["the answer", ({ answered }, at) => answered - at("ready")]
]

const measure = Effect.fnUntraced(function*(
  name: string,
  group: WorkerGroup.WorkerGroup<any, any>,
  ask: Effect.Effect<unknown, unknown>,
  count: number
) {
  const values = phases.map(() => [] as Array<number>)
  let { back } = yield* revive(group, ask)
  for (let done = 0; done < count; done++) {
    const next = yield* revive(group, ask)
    const at = (kind: string): number => next.died.flight.findLast((event) => event.kind === kind)!.at
    phases.forEach(([, of], index) => values[index]!.push(of(back, at) * 1000))
    back = next.back
  }
  return phases.map(([phase], index) => Row.of(`${name}: ${phase}`, setting, [{ values: values[index]!, foreign: 0 }]))
})

const model = Effect.provide(
  WorkerGroup.make(Moe.Moe, {
    mesh: Mesh.make({ dp: ranks, tp: 1 }),
    entry: Moe.entry(),
    name: "bench",
    supervision: Supervision.restart({ max: 1000, per: "1 milli" })
  }),
  NodeCluster.layer
)

/** From a kill to the first answer of the life after it. */
export const Restart: Bench.Bench = {
  name: "restart",
  about:
    "From SIGKILL of one of two ranks until it answers again, by phase: until the death is told; until the new process has come to its lanes; until its module is imported; until "
    + "its layer is built; until its first answer is in. `hello` is a worker of one method, `model` a rank of the language model with its half of the experts.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const group = yield* Effect.mapError(Mortals.start(ranks), Mortals.failed)
    const hello = yield* measure("hello", group, group.at(0).call.hello({ n: 1 }), Mortals.deaths(depth))
    const moe = yield* Effect.mapError(model, Mortals.failed)
    return [...hello, ...yield* measure("model", moe, moe.at(0).call.describe(), Math.ceil(Mortals.deaths(depth) / 4))]
  })
}
