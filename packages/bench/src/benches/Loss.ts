import * as Effect from "effect/Effect"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import type * as Bench from "../Bench.ts"
import { ask, start as startChild } from "../internal/child.ts"
import * as Mortals from "../Mortals.ts"
import * as Proc from "../Proc.ts"
import * as Row from "../Row.ts"

const ranks = 4
const setting = { workers: ranks, bytes: 0 }
/** For longer than a death takes to be told. */
const busyMillis = 300

/** A process that is what a worker is to the kernel, and holds so many bytes. */
const twin = (bytes: number) =>
  Effect.promise(async () => {
    const child = await startChild("twin.mjs")
    await ask(child, { bytes })
    return child
  })

/** From SIGKILL to its `exit` event. */
const exitEvent = (child: ChildProcess) =>
  Effect.promise(async () => {
    const gone = once(child, "exit")
    const start = performance.now()
    child.kill("SIGKILL")
    await gone
    return performance.now() - start
  })

/** Gives the ranks that live something to do, or nothing. */
const occupy = (group: Mortals.Group, busy: boolean) =>
  busy ? Effect.mapError(group.slice({ rank: [1, 2, 3] }).broadcast.compute({ millis: busyMillis }), Mortals.failed) : Effect.void

/** The others are done with what they were given. */
const settle = (group: Mortals.Group) => Effect.mapError(group.call.hello({ n: 0 }), Mortals.failed)

/** One rank of four is killed while the others are idle, or all of them compute. */
export const Loss: Bench.Bench = {
  name: "loss",
  about:
    "From SIGKILL of one of four ranks until the call in flight to it has failed with WorkerDied, while the other three are idle, or compute without yielding. `exit event`: the bare event of a "
    + "process that has loaded the same modules and holds as much memory, among the same idle or busy ranks, in turn with it. Quantiles are of all kills together.",
  unit: "µs",
  run: Effect.fnUntraced(function*(depth) {
    const group = yield* Effect.mapError(Mortals.start(ranks), Mortals.failed)
    const systems = ["idle", "busy"].flatMap((peers) => [`phalanx, ${peers}`, `exit event, ${peers}`])
    const values = new Map(systems.map((system) => [system, [] as Array<number>]))
    for (let count = 0; count < Mortals.deaths(depth); count++) {
      for (const peers of count % 2 === 0 ? ["idle", "busy"] : ["busy", "idle"]) {
        const bytes = Proc.residentBytes(group.workers[0]!.pid!)
        yield* occupy(group, peers === "busy")
        values.get(`phalanx, ${peers}`)!.push((yield* Mortals.strike(group, 0, "SIGKILL")).millis * 1000)
        yield* settle(group)
        const child = yield* twin(bytes)
        yield* occupy(group, peers === "busy")
        values.get(`exit event, ${peers}`)!.push((yield* exitEvent(child)) * 1000)
        yield* settle(group)
      }
    }
    return systems.map((system) => Row.of(system, setting, [{ values: values.get(system)!, foreign: 0 }]))
  })
}
