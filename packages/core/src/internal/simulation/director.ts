/**
 * One run of a simulation: builds the world, lets the program make its groups, sends steps and faults in at their times, and looks at what is left.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { Cluster } from "../../Cluster.ts"
import type * as Mesh from "../../Mesh.ts"
import { MessageQueues } from "../../MessageQueues.ts"
import * as Draw from "../../testing/Draw.ts"
import * as Fault from "../../testing/Fault.ts"
import type * as Simulation from "../../testing/Simulation.ts"
import * as World from "../../testing/World.ts"
import * as WorkerGroup from "../../WorkerGroup.ts"
import * as cluster from "./cluster.ts"
import * as faults from "./faults.ts"
import * as network from "./network.ts"
import { type Stage, tell, violate } from "./stage.ts"

type Group = WorkerGroup.WorkerGroup<any, any>

/** Milliseconds after its start by which a group without faults is ready. */
const startUp = 60
/** Milliseconds after the last step and fault by which whatever runs has come to its end. */
const rest = 1000
/** Milliseconds that a world goes on after its last step before it is called late. */
const patience = 600_000

export const meshOf = (simulation: Simulation.Simulation<any, any>, index: number): Mesh.Any =>
  simulation.meshes[index] ?? simulation.smaller![index - simulation.meshes.length]!

export const run: typeof direct = (simulation, seed, options) => {
  // A run makes thousands of errors, whose stacks only a story shows.
  const { stackTraceLimit } = Error
  if (options?.tell !== true) Error.stackTraceLimit = 0
  try {
    return direct(simulation, seed, options)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

const direct = (
  simulation: Simulation.Simulation<any, any>,
  seed: number,
  options?: { readonly plan?: Simulation.Plan | undefined; readonly tell?: boolean | undefined }
): Simulation.Outcome => {
  const draw = Draw.make(seed, "play")
  const drawnMesh = draw.below(simulation.meshes.length)
  const mesh = meshOf(simulation, options?.plan?.mesh ?? drawnMesh)
  const spread = simulation.spread ?? simulation.steps * 10
  const kinds = Fault.kinds(Draw.make(seed, "faults"), simulation.kinds ?? Fault.all)
  const world = World.make({ seed })
  const play = simulation.play({
    draw: Draw.make(seed, "own"),
    mesh,
    millis: () => world.millis,
    act: () => stage.acts - 1,
    fall: (where) => Effect.suspend(() => fall(where))
  })
  const plan = options?.plan ?? {
    mesh: drawnMesh,
    steps: [...Array(simulation.steps).keys()],
    faults: [...Array(play.faults?.length ?? simulation.faults ?? 0).keys()]
  }
  const { window } = play.options ?? {}
  const stage: Stage = {
    world,
    driver: world.process("driver"),
    falls: 0,
    orphan: undefined,
    record: undefined,
    adopting: false,
    window: { requests: window?.requests ?? 64, bytes: window?.bytes ?? 16 * 1024 * 1024 },
    actors: [],
    arms: new Map(),
    asked: [],
    violations: [],
    story: options?.tell === true ? [] : undefined,
    coverage: new Map(),
    silence: silenceOf(play.options?.heartbeat),
    lasting: 0,
    opened: Infinity,
    ending: false,
    acts: 0,
    stale: 0,
    perhapsStale: 0,
    stalled: 0,
    faults: [],
    unborn: new Set()
  }
  const net = network.make(stage)

  const faultAt = (index: number) => {
    const given = play.faults?.[index]
    if (given !== undefined) return given
    const own = Draw.make(seed, "fault", index)
    const at = own.below((startUp + spread) * 1000) / 1000
    return { at, fault: Fault.draw(own, kinds[index % kinds.length]!, simulation.members ?? mesh.ranks.length) }
  }
  for (const { at, fault } of plan.faults.map(faultAt)) {
    stage.lasting++
    world.after(at, () => {
      stage.lasting--
      faults.apply(stage, net, fault)
    })
  }

  const results: Array<Simulation.Result> = []
  /** Steps that have begun and have not ended. */
  const open = new Set<number>()
  const cut: Array<number> = []
  const falls: Array<number> = []
  const fallen = new Map<string, number>()
  const events: Array<Simulation.Told> = []
  let settled: number | undefined
  const steps = plan.steps
    .map((index) => {
      const own = Draw.make(seed, "step", index)
      const at = own.below(spread * 1000) / 1000
      const step = play.step(own, index)
      return { index, at: step.at ?? at, step }
    })
    .sort((a, b) => a.at - b.at || a.index - b.index)

  /** The group that steps meet; another one when the former has failed. */
  let present = Deferred.makeUnsafe<Group>()
  let finished = Deferred.makeUnsafe<void>()
  const finishing = (): void => {
    if (results.length + cut.length === steps.length) Deferred.doneUnsafe(finished, Exit.void)
  }

  const runStep = Effect.fnUntraced(function*({ index, step }: typeof steps[number]) {
    open.add(index)
    const group = yield* Deferred.await(present)
    const act = stage.acts - 1
    const began = world.millis
    tell(stage, () => `step ${index}: ${step.does}`)
    const exit = yield* Effect.exit(Effect.suspend(() => step.run(group)))
    tell(stage, () => `step ${index} ends: ${show(exit)}`)
    if (exit._tag === "Failure" && Cause.hasDies(exit.cause)) violate(stage, `SI-10: step ${index} (${step.does}) died: ${show(exit)}`)
    open.delete(index)
    results.push({ index, does: step.does, act, began, ended: world.millis, exit })
    finishing()
  })
  let begun: number | undefined
  const conduct = Effect.gen(function*() {
    if (steps.length === 0) return yield* Deferred.succeed(finished, undefined)
    yield* Deferred.await(present)
    begun ??= world.millis
    for (const step of steps) {
      if (open.has(step.index) || cut.includes(step.index) || results.some(({ index }) => index === step.index)) continue
      const wait = begun + step.at - world.millis
      if (wait > 0) yield* Effect.sleep(wait)
      yield* Effect.forkChild(runStep(step))
    }
    yield* Deferred.await(finished)
  })
  const act = Effect.gen(function*() {
    const driver = stage.falls
    const options = { ...play.options, mesh, entry: play.worker } as any
    const left = stage.orphan
    stage.adopting = false
    const group: Group = left === undefined
      ? yield* WorkerGroup.make(simulation.protocol, options)
      : yield* WorkerGroup.adopt(simulation.protocol, { ...options, group: left.group })
    const number = stage.acts - 1
    stage.opened = world.millis
    tell(stage, () => "the group is ready")
    const lost = Deferred.makeUnsafe<void>()
    yield* Effect.forkScoped(Stream.runForEach(group.events, (event) =>
      Effect.sync(() => {
        tell(stage, () => `news: ${event._tag}${"died" in event ? ` ${event.died.message}` : ""}`)
        events.push({ act: number, driver, millis: world.millis, event })
        if (event._tag === "Escalated") Deferred.doneUnsafe(lost, Exit.void)
      })))
    if (play.begin !== undefined) {
      const exit = yield* Effect.exit(play.begin(group))
      if (exit._tag === "Failure") violate(stage, `SI-10: what the driver begins with died: ${show(exit)}`)
    }
    Deferred.doneUnsafe(present, Exit.succeed(group))
    const over = Effect.andThen(Deferred.await(finished), play.end === undefined ? Effect.void : Effect.exit(play.end(group)))
    const lives = yield* Effect.raceFirst(Effect.as(over, true), Effect.as(Effect.flip(group.failure), false))
    if (lives) {
      while (stage.lasting > 0) yield* Effect.sleep(50)
      yield* Effect.sleep(rest)
      settled = world.millis
    } else {
      present = Deferred.makeUnsafe()
      tell(stage, () => "the group has failed and will be closed")
      yield* Effect.sleep(draw.below(50))
      // Who listens to the group's news may not have had a turn since.
      yield* Deferred.await(lost)
    }
    yield* Effect.map(group.counters, ({ fenced }) => {
      if (fenced < stage.stale || fenced > stage.stale + stage.perhapsStale) {
        violate(stage, `SI-8: ${stage.stale} frames of other lives came, and ${fenced} were counted`)
      }
    })
    stage.ending = true
  })
  const fall = (where: string): Effect.Effect<never> => {
    const { driver } = stage
    if (simulation.keeps !== true) throw new Error("a driver falls only where workers are kept")
    const pair = `Fall / ${where}`
    fallen.set(pair, (fallen.get(pair) ?? 0) + 1)
    tell(stage, () => "** the driver is killed")
    const options = net.hub()?.options
    if (options !== undefined) stage.orphan = { group: options.group, secret: options.secret, record: stage.record ?? options.snapshot!() }
    driver.end()
    net.fall()
    stage.falls++
    falls.push(world.millis)
    cut.push(...open)
    open.clear()
    // Who waits in the one that has fallen is never to be told.
    present = Deferred.makeUnsafe()
    finished = Deferred.makeUnsafe()
    stage.ending = false
    for (const actor of stage.actors) {
      if (actor.gone === undefined && actor.ready === undefined) actor.doom ??= "its driver fell before it served"
    }
    stage.lasting++
    world.after(1 + world.draw.below(200), () => {
      stage.lasting--
      stage.driver = world.process(`driver ${stage.falls}`)
      tell(stage, () => `driver ${stage.falls} begins`)
      stage.driver.run(running(), (exit) => ended = exit)
    })
    return Effect.never
  }
  const main = Effect.gen(function*() {
    finishing()
    yield* Effect.forkChild(conduct)
    while (!Deferred.isDoneUnsafe(finished) || stage.orphan !== undefined) {
      const from = world.millis
      const exit = yield* Effect.exit(Effect.scoped(act))
      stage.ending = false
      stage.opened = Infinity
      if (exit._tag === "Success") continue
      tell(stage, () => `the group could not start: ${show(exit)}`)
      const hit = stage.actors.some(({ born, doom }) => born >= from && doom !== undefined) || stage.coverage.size > 0
      if (!hit) violate(stage, `the group could not start, though nothing had happened: ${show(exit)}`)
    }
  })
  const services = Context.make(MessageQueues, net.queues).pipe(Context.add(Cluster, cluster.make(stage, net, simulation.keeps === true)))
  const running = () =>
    Effect.provideContext(main, Context.merge(stage.driver.context, services) as Context.Context<any>) as Effect.Effect<void>

  let ended: Exit.Exit<void> | undefined
  stage.driver.run(running(), (exit) => ended = exit)
  const ending = world.run(() => ended !== undefined, { millis: startUp + spread + patience })
  if (ended === undefined) {
    for (const { index, step } of steps) {
      if (!cut.includes(index) && !results.some((result) => result.index === index)) {
        violate(stage, `SI-5: step ${index} (${step.does}) has not ended, the world is ${ending}`)
      }
    }
    if (stage.violations.length === 0) violate(stage, `SI-5: the program has not ended, the world is ${ending}`)
  } else {
    if (ended._tag === "Failure") violate(stage, `SI-10: the program failed: ${show(ended)}`)
    // What nobody waits for any more may take its time; then nothing may be left.
    const left = world.run(() => false, { millis: world.millis + 30_000 })
    if (left !== "stuck") violate(stage, `SI-9: something goes on though the program has ended, the world is ${left}`)
    if (stage.driver.fibers > 0) violate(stage, `SI-9: ${stage.driver.fibers} fibers of the driver are left`)
    if (stage.driver.timers > 0) violate(stage, `SI-9: ${stage.driver.timers} timers of the driver are left`)
    for (const { gone, name } of stage.actors) if (gone === undefined) violate(stage, `SI-9: ${name} still runs`)
    judge(stage, events)
    const { actors: lives, asked, stalled } = stage
    const known = { mesh, results, cut, falls, lives, events, asked, faults: stage.faults, stalled, settled }
    for (const sentence of play.check?.(known) ?? []) violate(stage, sentence)
  }
  for (const thrown of world.thrown) violate(stage, `SI-10: thrown by ${thrown}`)

  return {
    seed,
    plan,
    violations: stage.violations,
    hash: world.hash,
    coverage: Object.fromEntries([...stage.coverage, ...fallen]),
    millis: world.millis,
    turns: world.turns,
    story: stage.story ?? []
  }
}

/** Every death that was told must have a cause, and be told once. */
const judge = (stage: Stage, events: ReadonlyArray<Simulation.Told>): void => {
  const told = new Set<string>()
  for (const { act, driver, event } of events) {
    if (event._tag !== "Died") continue
    const { died } = event
    if (died.pid === undefined) {
      // Whoever takes a group over may find a rank of which nothing is left.
      if (driver > 0) continue
      if (![...stage.unborn].some((life) => life.startsWith(`${act}.`) && life.endsWith(`.${died.incarnation}`))) {
        violate(stage, `SI-7: a worker that never was is told to be dead: ${died.message}`)
      }
      continue
    }
    // What one driver had told another cannot know.
    const news = `${driver} ${died.pid}`
    if (told.has(news)) violate(stage, `SI-7: a death is told twice: ${died.message}`)
    told.add(news)
    if (stage.actors.find(({ pid }) => pid === died.pid)?.doom === undefined) {
      violate(stage, `SI-7: a worker is told to be dead to which nothing had happened: ${died.message}`)
    }
  }
}

const silenceOf = (heartbeat: WorkerGroup.Options<any, any>["heartbeat"]): Stage["silence"] =>
  heartbeat === false ? undefined : {
    frozen: Duration.toMillis(heartbeat?.frozen ?? "5 seconds"),
    unresponsive: Duration.toMillis(heartbeat?.unresponsive ?? "1 minute")
  }

const show = (exit: Exit.Exit<unknown, unknown>): string => {
  if (exit._tag === "Success") return exit.value === undefined ? "done" : JSON.stringify(exit.value)
  const { reasons } = exit.cause
  return reasons.map((reason) =>
    reason._tag === "Interrupt" ? "interrupted" : String(reason._tag === "Fail" ? reason.error : reason.defect)
  ).join(", ")
}
