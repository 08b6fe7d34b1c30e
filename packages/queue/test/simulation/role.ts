/** The code that a process runs, with everything that it has of the queues: a mutant has modules of its own from here on. */
import { Driver } from "./driver.ts"
import { State } from "./ledger.ts"
import { use } from "./loop.ts"
import type { Plan } from "./plan.ts"
import { Process } from "./process.ts"
import type { Scheduler } from "./scheduler.ts"
import { Worker } from "./worker.ts"
import { forget } from "./writers.ts"

/** Runs the process of the scheduler's seat to its end, whatever that is, and lets others go on. */
export const run = (scheduler: Scheduler, plan: Plan): void => {
  const { seat, world } = scheduler
  const life = seat === 0 ? 0 : world.lifeOf[seat]!
  forget()
  let process: Process | undefined
  try {
    process = new Process(scheduler, plan, life)
    const role = seat === 0 ? new Driver(process) : new Worker(process)
    role.process.loop.run()
    process.close()
  } catch (cause) {
    if (scheduler.unwinding === undefined) {
      const text = cause instanceof Error ? cause.stack ?? cause.message : String(cause)
      scheduler.fail(`${seat === 0 ? "the driver" : `rank ${process?.ledger.rank(life)}`} threw ${text}`)
    }
  } finally {
    use(undefined)
  }
  const fate = scheduler.unwinding?.fate
  if (fate === "over") return
  scheduler.unwinding = undefined
  const { ledger } = process!
  if (seat === 0) ledger.exits(0, fate === undefined ? State.ended : State.dead, 0)
  else if (fate === undefined) ledger.exits(life, State.ended, 200)
  // Whoever goes mad is not dead before somebody kills it.
  else ledger.exits(life, fate === "kill" ? State.dead : State.mad, (fate === "kill" ? 200 : 100_000) + scheduler.chance(3000))
  scheduler.leave()
}
