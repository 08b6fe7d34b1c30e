/**
 * Runs Effect's workflows so that a later process can go on with them: Effect's own engine in memory does the running, and every result is in the `Journal`
 * before anybody sees it.
 *
 * A process that registers a workflow continues its unfinished executions from the top; activities that are in the journal are not run again, and one that
 * was cut short is. Executions belong to the journal: two processes that register the same workflow over the same one would both run them.
 *
 * Effect's engines have no channel for errors of their own: a journal that cannot be read or written is a defect, whose value is the `JournalError`. Such an
 * execution stays unfinished, and is taken up by the next process.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Activity from "effect/workflow/Activity"
import type * as DurableDeferred from "effect/workflow/DurableDeferred"
import * as Workflow from "effect/workflow/Workflow"
import * as WorkflowEngine from "effect/workflow/WorkflowEngine"
import { JournalError } from "./ElasticError.ts"
import * as Codec from "./internal/journalCodec.ts"
import * as Journal from "./Journal.ts"

type Service = WorkflowEngine.WorkflowEngine["Service"]
type Instance = WorkflowEngine.WorkflowInstance["Service"]

/** The journal's failure among what a workflow failed with, if that is why. */
export const journalError = (cause: Cause.Cause<unknown>): Option.Option<JournalError> =>
  Option.fromNullishOr(
    cause.reasons.flatMap((reason) => Cause.isDieReason(reason) && reason.defect instanceof JournalError ? [reason.defect] : [])[0]
  )

const make = Effect.gen(function*() {
  const journal = yield* Journal.Journal
  const scope = yield* Effect.scope
  const inner = Context.get(yield* Layer.build(WorkflowEngine.layerMemory), WorkflowEngine.WorkflowEngine)
  /** Whether the process is about to stop running a workflow, by its name. */
  const closing = new Map<string, boolean>()
  const running = new Map<string, Deferred.Deferred<unknown, unknown>>()

  /** Whether an execution goes on elsewhere: this process stops, or the journal has failed it. */
  const isCutShort = (workflow: Workflow.Any, exit: Exit.Exit<unknown, unknown>): boolean =>
    Exit.isFailure(exit) &&
    (closing.get(workflow._tag) === true && Cause.hasInterruptsOnly(exit.cause) || Option.isSome(journalError(exit.cause)))

  /** Runs an execution of the journal in this process, once, and writes down how it ends. */
  const run = Effect.fnUntraced(function*(workflow: Codec.AnyWorkflow, execution: Journal.Execution) {
    const { id } = execution
    const codec = Codec.exit(workflow)
    const result = yield* Effect.transposeOption(Option.map(execution.result, (text) => Codec.decode(codec, text, `the result of ${id}`)))
    const payload = yield* Codec.decode(Codec.payload(workflow), execution.payload, `the payload of ${id}`)
    const known = running.get(id)
    if (known !== undefined) return known
    const ended = Deferred.makeUnsafe<unknown, unknown>()
    if (Option.isSome(result)) {
      Deferred.doneUnsafe(ended, result.value)
      return ended
    }
    running.set(id, ended)
    const { suspendedRetrySchedule } = workflow
    const runs = yield* Effect.exit(
      inner.execute(workflow, { executionId: id, payload, suspendedRetrySchedule }) as Effect.Effect<unknown, unknown>
    )
      .pipe(
        Effect.tap((exit) =>
          isCutShort(workflow, exit)
            ? Effect.void
            : Effect.flatMap(Codec.encode(codec, exit), (text) => Effect.orDie(journal.end(id, text)))
        ),
        Effect.flatten,
        Effect.forkIn(scope, { startImmediately: true })
      )
    // Where the scope is closed it does not begin, and ends all the same.
    runs.addObserver((exit) => {
      running.delete(id)
      Deferred.doneUnsafe(ended, exit)
    })
    if (execution.interrupted) yield* inner.interrupt(workflow, id)
    return ended
  })

  const register = Effect.fnUntraced(function*(
    workflow: Codec.AnyWorkflow,
    execute: (
      payload: unknown,
      id: string
    ) => Effect.Effect<unknown, unknown, WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance>
  ) {
    const live = new Set<Instance>()
    closing.set(workflow._tag, false)
    const runs = yield* Scope.fork(yield* Effect.scope)
    // Scopes close backwards: before the process interrupts its runs, they are told to leave compensations to the next one.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closing.set(workflow._tag, true)
        for (const instance of live) instance.abandoned = true
      })
    )
    const body = (payload: unknown, id: string) =>
      Effect.flatMap(WorkflowEngine.WorkflowInstance, (instance) => {
        live.add(instance)
        return Effect.ensuring(execute(payload, id), Effect.sync(() => void (closing.get(workflow._tag) || live.delete(instance))))
      }).pipe(Effect.provideService(WorkflowEngine.WorkflowEngine, engine))
    yield* Scope.provide(inner.register(workflow, body as (payload: unknown, id: string) => Effect.Effect<any>), runs)
    for (const execution of yield* Effect.orDie(journal.unfinished(workflow._tag))) {
      // One that cannot be read is no reason to leave the others.
      yield* Effect.ignoreCause(run(workflow, execution), { log: "Error", message: `${workflow._tag} ${execution.id} is not continued` })
    }
  })

  const execute = Effect.fnUntraced(function*(
    workflow: Codec.AnyWorkflow,
    options: { readonly executionId: string; readonly payload: unknown; readonly discard?: boolean }
  ) {
    const parent = yield* Effect.serviceOption(WorkflowEngine.WorkflowInstance)
    if (Option.isSome(parent)) {
      return yield* Effect.die(new Error(`${workflow._tag} was executed by a workflow, which the journal does not follow`))
    }
    if (!closing.has(workflow._tag)) return yield* Effect.die(new Error(`the workflow ${workflow._tag} is not registered`))
    const payload = yield* Codec.encode(Codec.payload(workflow), options.payload)
    const execution = yield* Effect.orDie(journal.begin({ id: options.executionId, workflow: workflow._tag, payload }))
    const ended = yield* run(workflow, execution)
    return options.discard === true ? options.executionId : yield* Deferred.await(ended)
  })

  const poll = Effect.fnUntraced(function*(workflow: Codec.AnyWorkflow, id: string) {
    const result = Option.flatMap(yield* Effect.orDie(journal.execution(id)), ({ result }) => result)
    if (Option.isSome(result)) {
      return Option.some(new Workflow.Complete({ exit: yield* Codec.decode(Codec.exit(workflow), result.value, `the result of ${id}`) }))
    }
    // What has ended but is not in the journal has not ended.
    return Option.filter(yield* inner.poll(workflow, id), ({ _tag }) => _tag === "Suspended")
  })

  const activityExecute = Effect.fnUntraced(function*(activity: Activity.Activity<any, any, any>, attempt: number) {
    const { executionId: execution } = yield* WorkflowEngine.WorkflowInstance
    const key = { execution, name: activity.name, attempt }
    const codec = Codec.exit(activity)
    const known = yield* Effect.orDie(journal.activity(key))
    if (Option.isSome(known)) {
      return new Workflow.Complete({ exit: yield* Codec.decode(codec, known.value, `the activity ${key.name} of ${execution}`) })
    }
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.tap(restore(inner.activityExecute(activity, attempt)), (result) =>
        result._tag === "Suspended"
          ? Effect.void
          : Effect.flatMap(Codec.encode(codec, result.exit), (exit) => Effect.orDie(journal.recordActivity(key, exit))))
    )
  })

  const deferredResult = Effect.fnUntraced(function*(deferred: DurableDeferred.DurableDeferred<any, any>) {
    const { executionId: execution } = yield* WorkflowEngine.WorkflowInstance
    const known = yield* Effect.orDie(journal.deferred({ execution, name: deferred.name }))
    if (Option.isNone(known)) return yield* inner.deferredResult(deferred)
    return Option.some(yield* Codec.decode(Codec.exit(deferred), known.value, `${deferred.name} of ${execution}`))
  })

  const deferredDone = Effect.fnUntraced(function*(
    deferred: DurableDeferred.DurableDeferred<any, any>,
    options: {
      readonly workflowName: string
      readonly executionId: string
      readonly deferredName: string
      readonly exit: Exit.Exit<any, any>
    }
  ) {
    const key = { execution: options.executionId, name: options.deferredName }
    yield* Effect.orDie(journal.recordDeferred(key, yield* Codec.encode(Codec.exit(deferred), options.exit)))
    yield* inner.deferredDone(deferred, options)
  })

  const engine: Service = WorkflowEngine.WorkflowEngine.of({
    register: register as unknown as Service["register"],
    execute: execute as unknown as Service["execute"],
    poll: poll as unknown as Service["poll"],
    activityExecute: activityExecute as unknown as Service["activityExecute"],
    deferredResult: deferredResult as unknown as Service["deferredResult"],
    deferredDone: deferredDone as unknown as Service["deferredDone"],
    interrupt: (workflow, id) => Effect.andThen(Effect.orDie(journal.interrupt(id)), inner.interrupt(workflow, id)),
    interruptUnsafe: (workflow, id) => Effect.andThen(Effect.orDie(journal.interrupt(id)), inner.interruptUnsafe(workflow, id)),
    resume: inner.resume,
    scheduleClock: Effect.fnUntraced(function*(workflow, { clock, executionId }) {
      const now = yield* Clock.currentTimeMillis
      const deadline = yield* Effect.orDie(
        journal.clock({ execution: executionId, name: clock.name }, now + Duration.toMillis(clock.duration))
      )
      yield* inner.scheduleClock(workflow, { executionId, clock: { ...clock, duration: Duration.millis(Math.max(0, deadline - now)) } })
    })
  })
  return engine
})

/** The engine over a journal. A workflow executed within a workflow is a defect: the journal follows executions that stand alone. */
export const layer: Layer.Layer<WorkflowEngine.WorkflowEngine, never, Journal.Journal> = Layer.effect(WorkflowEngine.WorkflowEngine, make)
