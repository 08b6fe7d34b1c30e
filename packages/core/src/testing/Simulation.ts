/**
 * Runs a group, the real one, in a `World`: driver and workers are simulated processes, the network between them is simulated, and faults come at times
 * that the seed says. A seed that fails can be run again, shrunk, and told as a story.
 *
 * ```ts
 * const counting = Simulation.make("counting", { protocol: Counter, meshes: [Mesh.make({ dp: 4 })], steps: 50, faults: 6, play })
 * const outcome = Simulation.run(counting, 7)
 * if (outcome.violations.length > 0) console.log(Simulation.explain(counting, outcome).join("\n"))
 * ```
 *
 * Whatever the protocol, a run fails if
 * - SI-5: a step has not ended when nothing more will happen, or ten minutes of the world's time after the last;
 * - SI-6: a rank's window is exceeded, a request reaches a rank twice or out of order, or a worker answers one twice;
 * - SI-7: a worker is told to be dead to which nothing had happened, or the same death is told twice;
 * - SI-8: frames of former lives and other groups are not all counted;
 * - SI-9: anything is left at the end: a worker, a fiber or a timer of the driver;
 * - SI-10: a step dies, or a task throws.
 *
 * With `keeps` workers outlive their driver: where a step has it `fall`, another one takes the group over after a while, and steps go on with that.
 *
 * What else must hold of a protocol is said by its `check`.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import type * as Scope from "effect/Scope"
import type { GroupEvent } from "../GroupEvent.ts"
import * as director from "../internal/simulation/director.ts"
import * as shrinking from "../internal/simulation/shrink.ts"
import type { Asked } from "../internal/simulation/watch.ts"
import type * as Mesh from "../Mesh.ts"
import type * as Worker from "../Worker.ts"
import type * as WorkerGroup from "../WorkerGroup.ts"
import type * as Draw from "./Draw.ts"
import type * as Fault from "./Fault.ts"

export {
  /** A request that the driver gave to a member. */
  type Asked
}

type Protocol = RpcGroup.Any

/** One thing that the program under test does with its group. */
export interface Step<P extends Protocol, D extends string> {
  /** In words, for the story. */
  readonly does: string
  /** Milliseconds after the first group was ready. Default: drawn. */
  readonly at?: number | undefined
  readonly run: (group: WorkerGroup.WorkerGroup<P, D>) => Effect.Effect<unknown, unknown>
}

/** What became of a step. */
export interface Result {
  /** Which of the simulation's steps it is. */
  readonly index: number
  readonly does: string
  /** Which of the run's groups it met: a group that fails is closed and another made. */
  readonly act: number
  /** When it began and ended, in milliseconds of the world's time. */
  readonly began: number
  readonly ended: number
  readonly exit: Exit.Exit<unknown, unknown>
}

/** One life of one worker. Times are milliseconds of the world. */
export interface Life {
  readonly act: number
  readonly member: number
  readonly rank: number
  readonly incarnation: number
  readonly pid: number
  readonly born: number
  readonly ready: number | undefined
  readonly gone: number | undefined
  /** When the driver had it known to be gone. */
  readonly told: number | undefined
  /** The fault that may have ended it, in words. */
  readonly doom: string | undefined
}

/** A piece of news of one of the run's groups, and when it was told. */
export interface Told {
  readonly act: number
  /** Which driver told it: how many had fallen before. */
  readonly driver: number
  readonly millis: number
  readonly event: GroupEvent
}

/** All that is known after a run. */
export interface Run<D extends string> {
  readonly mesh: Mesh.Mesh<D>
  readonly results: ReadonlyArray<Result>
  /** Steps that ran when a driver fell: nobody hears what becomes of them. */
  readonly cut: ReadonlyArray<number>
  /** When drivers fell. */
  readonly falls: ReadonlyArray<number>
  readonly lives: ReadonlyArray<Life>
  /** What the groups told, in order. */
  readonly events: ReadonlyArray<Told>
  /** In the order in which the driver published them. */
  readonly asked: ReadonlyArray<Asked>
  readonly faults: ReadonlyArray<{ readonly millis: number; readonly fault: Fault.Fault; readonly state: string }>
  /** Milliseconds that the driver was kept from its turns. */
  readonly stalled: number
  /** When the last group was ended: one second after the last step and fault were over. */
  readonly settled: number | undefined
}

/** One run's own part: made anew for each, so that what it remembers is of this run. */
export interface Play<P extends Protocol, D extends string> {
  readonly worker: Worker.Worker<P, unknown>
  /** Of every group that the run makes. */
  readonly options?: Omit<WorkerGroup.Options<P, D>, "mesh" | "entry"> | undefined
  /** What each driver does with the group that it has made or taken over, before steps meet it. It runs in the group's scope; its failure is a step's that died. */
  readonly begin?: ((group: WorkerGroup.WorkerGroup<P, D>) => Effect.Effect<unknown, unknown, Scope.Scope>) | undefined
  /** What the last driver waits for when all steps have ended, before it ends its group. */
  readonly end?: ((group: WorkerGroup.WorkerGroup<P, D>) => Effect.Effect<unknown, unknown>) | undefined
  /** Makes a step; called once for each, with a draw of its own. */
  readonly step: (draw: Draw.Draw, index: number) => Step<P, D>
  /** What happens, and how many milliseconds after the world began. Default: drawn. */
  readonly faults?: ReadonlyArray<{ readonly at: number; readonly fault: Fault.Fault }> | undefined
  /** What is wrong, one sentence each. Called when every step has ended and every worker is gone. */
  readonly check?: ((run: Run<D>) => Iterable<string>) | undefined
}

/** What to simulate. */
export interface Simulation<P extends Protocol, D extends string> {
  readonly name: string
  readonly protocol: P
  /** One is drawn for each run. */
  readonly meshes: ReadonlyArray<Mesh.Mesh<D>>
  /** Tried, in this order, when a run that failed is shrunk. */
  readonly smaller?: ReadonlyArray<Mesh.Mesh<D>> | undefined
  /** How many steps a run has. */
  readonly steps: number
  /** How many faults a run has. Default: none. */
  readonly faults?: number | undefined
  /** Which faults. Default: `Fault.all`. */
  readonly kinds?: Fault.Weights | undefined
  /** How many members faults are drawn for. Default: as many as the mesh has ranks. */
  readonly members?: number | undefined
  /** Workers outlive their driver, and when it has fallen another one takes the group over. Default: they do not, and no driver falls. */
  readonly keeps?: boolean | undefined
  /** Over how many milliseconds of the world's time steps and faults are spread. Default: 10 for each step. */
  readonly spread?: number | undefined
  readonly play: (given: {
    readonly draw: Draw.Draw
    readonly mesh: Mesh.Mesh<D>
    /** The world's time now, in milliseconds. */
    readonly millis: () => number
    /** Which of the run's groups is the present one, counted from 0. */
    readonly act: () => number
    /**
     * The driver that runs this is killed, there and then: none of its steps and finalizers goes on. Another one comes after a while, and takes the group over; for simulations with `keeps`.
     * `where` it fell is counted as a fault's state is.
     */
    readonly fall: (where: string) => Effect.Effect<never>
  }) => Play<P, D>
}

/** Which parts of a simulation a run has: all of a seed's, or what shrinking has left. */
export interface Plan {
  /** Which of `meshes`, or, counted on, of `smaller`. */
  readonly mesh: number
  readonly steps: ReadonlyArray<number>
  readonly faults: ReadonlyArray<number>
}

/** How a run went. */
export interface Outcome {
  readonly seed: number
  readonly plan: Plan
  /** One sentence for each thing that went wrong; none: the seed holds. */
  readonly violations: ReadonlyArray<string>
  /** Of everything that happened, in its order: a run of the same seed and plan has the same. */
  readonly hash: string
  /** How often each fault found its member in each state: `"Kill / busy"` → 2. */
  readonly coverage: Readonly<Record<string, number>>
  /** Milliseconds that passed in the world. */
  readonly millis: number
  readonly turns: number
  /** What happened, line by line, if it was asked for. */
  readonly story: ReadonlyArray<string>
}

/** A simulation, with its types. */
export const make = <P extends Protocol, const D extends string>(
  name: string,
  options: Omit<Simulation<P, D>, "name">
): Simulation<P, D> => ({ name, ...options })

/** Runs one seed, at once, on the caller's thread. `tell` keeps the story; `plan` leaves parts out. */
export const run: <P extends Protocol, D extends string>(
  simulation: Simulation<P, D>,
  seed: number,
  options?: { readonly plan?: Plan | undefined; readonly tell?: boolean | undefined }
) => Outcome = director.run

/**
 * The smallest plan found that still fails: without the ranks, faults and steps that can be left out. Asks at most `tries` times (default 400).
 */
export const shrink = <P extends Protocol, D extends string>(simulation: Simulation<P, D>, outcome: Outcome, tries = 400): Outcome => {
  const budget = { left: tries }
  let best = outcome
  const fails = (plan: Plan): boolean => {
    const again = run(simulation, outcome.seed, { plan })
    if (again.violations.length > 0) best = again
    return again.violations.length > 0
  }
  const smaller = () => {
    const { meshes, smaller = [] } = simulation
    if (smaller.some((_, index) => fails({ ...best.plan, mesh: meshes.length + index }))) return
  }
  shrinking.list(outcome.plan.faults, (faults) => fails({ ...best.plan, faults }), budget)
  shrinking.list(outcome.plan.steps, (steps) => fails({ ...best.plan, steps }), budget)
  smaller()
  shrinking.list(best.plan.faults, (faults) => fails({ ...best.plan, faults }), budget)
  return best
}

/** Shrinks a run that failed and tells it, line by line; the lines that begin with `**` are faults, those with `!!` what went wrong. */
export const explain = <P extends Protocol, D extends string>(simulation: Simulation<P, D>, outcome: Outcome): ReadonlyArray<string> => {
  const least = outcome.violations.length === 0 ? outcome : shrink(simulation, outcome)
  const told = run(simulation, outcome.seed, { plan: least.plan, tell: true })
  const { faults, steps } = told.plan
  return [
    `${simulation.name}, seed ${outcome.seed}: ${
      director.meshOf(simulation, told.plan.mesh).ranks.length
    } ranks, ${steps.length} steps, ${faults.length} faults`,
    ...told.story,
    ...told.violations.map((violation) => `   violated: ${violation}`)
  ]
}

/** Dies with the story of the first seed that fails; for tests. */
export const holds = <P extends Protocol, D extends string>(
  simulation: Simulation<P, D>,
  options: { readonly seeds: number; readonly from?: number | undefined }
): Effect.Effect<void> =>
  Effect.sync(() => {
    const from = options.from ?? 1
    for (let seed = from; seed < from + options.seeds; seed++) {
      const outcome = run(simulation, seed)
      if (outcome.violations.length > 0) throw new Error(explain(simulation, outcome).join("\n"))
    }
  })
