/** A thread of a simulation. The first one runs whole runs, and the driver in each; the others run whatever process is given to their seat. */
import { parentPort, workerData } from "node:worker_threads"
import * as Loop from "./loop.ts"
import { type Plan, planOf } from "./plan.ts"
import { stay } from "./processors.ts"
import type { Answer, Ask, Given, Outcome, Result, Tally } from "./protocol.ts"
import type * as Role from "./role.ts"
import { Scheduler } from "./scheduler.ts"
import { shrink } from "./shrink.ts"
import { traceOf } from "./trace.ts"
import { load } from "./variants.ts"
import { Cell, decisionWords, failureText, planText, World } from "./world.ts"

const given = workerData as Given
const world = new World(given.buffer)
const scheduler = new Scheduler(world, given.seat)
const variants: Array<typeof Role | undefined> = []

const say = (message: Answer | "ready"): void => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that rule means windows
  parentPort!.postMessage(message)
}

/** The code of a variant, loaded when it is first used: most threads never run most mutants. */
const variantOf = async (index: number): Promise<typeof Role> => variants[index] ??= await load(given.variants[index], given.sources)

/** Runs the process that has this thread's seat, until it ends. */
const occupy = (role: typeof Role): void => {
  try {
    role.run(scheduler, JSON.parse(world.text(planText)))
  } catch (cause) {
    if (cause !== scheduler.unwinding) throw cause
  }
}

/** One run: by the seed of its plan, or by a script. */
const run = (plan: Plan, variant: number, script?: ReadonlyArray<number>, isTraced = false): Result => {
  const { cells } = world
  world.reset()
  cells[Cell.variant] = variant
  cells[Cell.random] = plan.seed
  cells[Cell.salt] = Math.imul(plan.seed + 1, 0x27d4eb2d)
  cells[Cell.policy] = plan.policy
  cells[Cell.rate] = plan.rate
  cells[Cell.countdown] = 1
  cells[Cell.traces] = isTraced ? 1 : 0
  if (script !== undefined) {
    cells[Cell.replays] = 1
    cells[Cell.scripted] = script.length / decisionWords
    world.script.set(script)
  }
  world.putText(planText, JSON.stringify(plan))
  occupy(variants[variant]!)
  scheduler.rest()
  const issue = cells[Cell.failed] === 0 ? undefined : world.text(failureText)
  return { issue, steps: cells[Cell.step]!, switches: cells[Cell.switches]! }
}

const explain = (seed: number, variant: number): Outcome => {
  const plan = planOf(seed)
  Atomics.store(world.seed, 0, seed)
  world.coverage.fill(0)
  const own = run(plan, variant, undefined, true)
  const outcome: Outcome = { ...own, seed, failure: undefined, coverage: [...world.coverage], trace: traceOf(world, plan) }
  const { issue } = own
  if (issue === undefined) return outcome
  const decisions = [...world.decisions.subarray(0, world.cells[Cell.decided]! * decisionWords)]
  const shrunk = shrink({ plan, script: decisions }, issue, ({ plan, script }) => run(plan, variant, script).issue)
  const last = run(shrunk.plan, variant, shrunk.script, true)
  return { ...outcome, failure: { issue, shrunk: { ...shrunk, issue: last.issue ?? issue } }, trace: traceOf(world, shrunk.plan) }
}

const tally = (ask: Extract<Ask, { readonly kind: "seeds" }>): Tally => {
  world.coverage.fill(0)
  const failed: Tally["failed"] = []
  let [seeds, steps, switches] = [0, 0, 0]
  for (let seed = ask.from; seed < ask.from + ask.count && !(ask.stopsEarly && failed.length > 0); seed++) {
    Atomics.store(world.seed, 0, seed)
    const result = run(planOf(seed), ask.variant)
    seeds++
    steps += result.steps
    switches += result.switches
    if (result.issue !== undefined) failed.push({ seed, issue: result.issue })
  }
  return { seeds, failed, coverage: [...world.coverage], steps, switches }
}

Loop.install()
await variantOf(0)
// Only now: loading goes faster on all processors.
stay(given.processor)
say("ready")
if (given.seat === 0) {
  parentPort!.on("message", async ([id, ask]: [number, Ask]) => {
    await variantOf(ask.variant)
    say({ id, said: ask.kind === "run" ? explain(ask.seed, ask.variant) : tally(ask) })
  })
} else {
  for (;;) {
    scheduler.rest()
    occupy(await variantOf(world.cells[Cell.variant]!))
  }
}
