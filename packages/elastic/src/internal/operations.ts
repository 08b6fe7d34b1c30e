/** The operations of one journal: those that this process runs, and what the journal knows of the others. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Struct from "effect/Struct"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as WorkflowEngine from "effect/workflow/WorkflowEngine"
import type { Options } from "../Elastic.ts"
import { CancelRefused, type JournalError, OperationNotFound, ScaleConflict, ScaleFailed, Step } from "../ElasticError.ts"
import * as Journal from "../Journal.ts"
import * as JournalEngine from "../JournalEngine.ts"
import { type Scaled, Status, type StepTime } from "../Operation.ts"
import type { Request, Resizable } from "../Resizable.ts"
import * as Codec from "./journalCodec.ts"
import * as JournalErrors from "./journalError.ts"
import * as Scaling from "./scaling.ts"

interface Run extends Scaling.Run {
  readonly ended: Deferred.Deferred<Scaled, ScaleFailed>
}

const text = <A>(schema: Schema.Codec<A, any>) => Schema.fromJsonString(Schema.toCodecJson(schema))
const payloads = text(Scaling.Payload)
const statuses = text(Status)
const read = <A>(codec: Schema.Codec<A, string>, json: string, what: string): Effect.Effect<A, JournalError> =>
  Effect.mapError(Schema.decodeEffect(codec)(json), ({ message }) => JournalErrors.make(`read ${what}`, "damaged", message))

const hasEnded = ({ state }: Status): boolean => state === "done" || state === "failed"

/** Everything that `Elastic` can do. */
export const make = Effect.gen(function*() {
  const journal = yield* Journal.Journal
  const engine = yield* WorkflowEngine.WorkflowEngine
  const scope = yield* Effect.scope
  const turn = yield* Semaphore.make(1)
  const driver = globalThis.crypto.randomUUID()
  /** Until their outcome is in the journal. */
  const runs = new Map<string, Run>()
  const awaited = new Map<string, Deferred.Deferred<Run>>()

  /** Executions that the journal had left wait here until their group is adopted. */
  const runOf = (operation: string): Effect.Effect<Run> =>
    Effect.suspend(() => {
      const run = runs.get(operation)
      if (run !== undefined) return Effect.succeed(run)
      if (!awaited.has(operation)) awaited.set(operation, Deferred.makeUnsafe())
      return Deferred.await(awaited.get(operation)!)
    })

  yield* Effect.provideService(
    Layer.build(Scaling.Scale.toLayer(Scaling.body(journal, runOf))),
    WorkflowEngine.WorkflowEngine,
    engine
  )

  const start = Effect.fnUntraced(function*(payload: Scaling.Payload, group: Resizable["Service"], adopted: boolean) {
    const { from, operation, request } = payload
    const run: Run = {
      payload,
      group,
      adopted,
      cancelled: Deferred.makeUnsafe(),
      status: yield* SubscriptionRef.make<Status>({
        operation,
        group: group.group,
        request,
        from,
        state: "running",
        committed: false,
        steps: []
      }),
      ended: Deferred.makeUnsafe()
    }
    runs.set(operation, run)
    const running = yield* Effect.forkIn(finish(run), scope, { startImmediately: true })
    // Whoever waits for it here waits no longer than this process runs it, which it does not even begin where the scope is closed.
    running.addObserver(() => Deferred.doneUnsafe(run.ended, Exit.interrupt()))
    const waiting = awaited.get(operation)
    awaited.delete(operation)
    if (waiting !== undefined) yield* Deferred.succeed(waiting, run)
    return run
  })

  const finish = (run: Run) =>
    Scaling.Scale.execute(run.payload).pipe(
      Effect.provideService(WorkflowEngine.WorkflowEngine, engine),
      Effect.sandbox,
      // What is decided has to be written down before it is told; what is not is over, whether it is written down or not.
      Effect.retry({
        while: (cause) =>
          Effect.map(SubscriptionRef.get(run.status), ({ committed }) => committed && Option.isSome(JournalEngine.journalError(cause))),
        schedule: Scaling.patiently
      }),
      Effect.catch((cause) => Effect.flatMap(SubscriptionRef.get(run.status), (status) => Effect.fail(failure(run, status, cause)))),
      Effect.exit,
      Effect.flatMap((exit) =>
        // The end of this process is no end of the operation.
        Exit.hasInterrupts(exit) ? Effect.void : Effect.gen(function*() {
          // A successor of a driver that had come to the end has not gone through the steps itself.
          yield* SubscriptionRef.update(run.status, (status): Status => {
            const now = Struct.omit(status, ["progress", "step"])
            return Exit.match(exit, {
              onSuccess: (result) => ({ ...now, state: "done", committed: result.changed, steps: result.steps, result }),
              onFailure: (cause) => {
                const failure = Option.getOrThrow(Cause.findErrorOption(cause))
                return { ...now, state: "failed", committed: failure.committed, failure }
              }
            })
          })
          yield* Effect.ignoreCause(close(run), { log: "Error", message: `the outcome of ${run.payload.operation} is not in the journal` })
          yield* Deferred.done(run.ended, exit)
        })
      )
    )

  /** Why an operation failed: what its workflow says, or what kept it from saying so. */
  const failure = (run: Run, { committed, step = "validate" }: Status, cause: Cause.Cause<ScaleFailed>): ScaleFailed => {
    const { operation } = run.payload
    return Option.getOrElse(Cause.findErrorOption(cause), () =>
      Option.match(JournalEngine.journalError(cause), {
        onSome: ({ message }) => new ScaleFailed({ operation, step, committed, reason: { _tag: "JournalFailed", issue: message } }),
        onNone: () => new ScaleFailed({ operation, step, committed, reason: { _tag: "Defect", issue: String(Cause.squash(cause)) } })
      }))
  }

  const close = Effect.fnUntraced(function*(run: Run) {
    const status = yield* SubscriptionRef.get(run.status)
    yield* journal.close(status.operation, yield* Effect.orDie(Schema.encodeEffect(statuses)(status)))
    runs.delete(status.operation)
  })

  const outcome = (operation: Journal.Operation) =>
    Effect.flatMap(
      read(statuses, Option.getOrElse(operation.outcome, () => ""), `the outcome of ${operation.id}`),
      ({ failure, result }) => failure === undefined ? Effect.succeed(result!) : Effect.fail(failure)
    )

  /** Lets an operation in if nothing is in its way: the run that it is now, or the outcome that it had. */
  const enter = Effect.fnUntraced(function*(group: Resizable["Service"], { deadline, operation, ...options }: Options) {
    const request: Request = "to" in options ? { to: options.to } : { leave: options.leave }
    const conflict = (active: string, issue: string, advice: string) =>
      new ScaleConflict({ operation, group: group.group, active, issue, advice })
    // Whose outcome could not be written down when it ended would be in the way for ever.
    for (const run of runs.values()) {
      if (run.group.group === group.group && (yield* Deferred.isDone(run.ended))) yield* close(run)
    }
    const began = yield* Clock.currentTimeMillis
    const payload: Scaling.Payload = {
      operation,
      group: group.group,
      request,
      from: yield* group.serving,
      began,
      deadline: deadline === undefined ? null : Math.round(began + Duration.toMillis(deadline)),
      driver,
      key: globalThis.crypto.randomUUID()
    }
    const asked = yield* Effect.orDie(Schema.encodeEffect(payloads)(payload))
    // Between the journal's line and the run nobody may be interrupted: it would be an operation that nobody runs.
    return yield* Effect.uninterruptible(Effect.gen(function*() {
      const opened = yield* journal.open({ id: operation, group: group.group, request: asked })
      if (opened.id !== operation) {
        return yield* conflict(
          opened.id,
          `${opened.id} has not ended`,
          "Wait for it, call it off, or adopt the group if its driver is gone"
        )
      }
      const first = yield* read(payloads, opened.request, `the operation ${operation}`)
      if (first.group !== group.group || JSON.stringify(first.request) !== JSON.stringify(request)) {
        return yield* conflict(
          operation,
          `it was begun as ${JSON.stringify(first.request)} on ${first.group}`,
          "Give another change another name"
        )
      }
      if (opened.state === "ended") return { ended: outcome(opened) }
      const run = runs.get(operation)
      if (run !== undefined) return { ended: Deferred.await(run.ended) }
      if (first.driver !== driver) {
        return yield* conflict(operation, "another driver has begun it", "Ask that driver, or adopt the group if it is gone")
      }
      return { ended: Deferred.await((yield* start(first, group, false)).ended) }
    }))
  })

  const known = (operation: string) =>
    Effect.flatMap(
      journal.operation(operation),
      Option.match({
        onNone: () => Effect.fail(new OperationNotFound({ operation })),
        onSome: Effect.succeed
      })
    )

  /** What the journal says of an operation that this process does not run. */
  const recorded = Effect.fnUntraced(function*(operation: string) {
    const written = yield* known(operation)
    if (Option.isSome(written.outcome)) return yield* read(statuses, written.outcome.value, `the outcome of ${operation}`)
    const payload = yield* read(payloads, written.request, `the operation ${operation}`)
    const activities = yield* journal.activities(yield* Scaling.Scale.executionId(payload))
    const steps: Array<StepTime> = []
    for (const { exit, name } of activities) {
      const left = yield* read(
        Codec.exit({ successSchema: Scaling.Done, errorSchema: ScaleFailed }),
        exit,
        `the step ${name} of ${operation}`
      )
      if (Exit.isSuccess(left)) steps.push((left.value as typeof Scaling.Done.Type).time)
    }
    return {
      operation,
      group: written.group,
      request: payload.request,
      from: payload.from,
      state: steps.length < activities.length ? "rollingBack" : "running",
      committed: written.state === "committing",
      steps: Step.literals.flatMap((name) => steps.filter(({ step }) => step === name))
    } satisfies Status
  })

  const status = (operation: string): Effect.Effect<Status, OperationNotFound | JournalError> =>
    Effect.suspend((): Effect.Effect<Status, OperationNotFound | JournalError> => {
      const run = runs.get(operation)
      return run === undefined ? recorded(operation) : SubscriptionRef.get(run.status)
    })

  return {
    scale: (group: Resizable["Service"], options: Options) => Effect.flatMap(turn.withPermit(enter(group, options)), ({ ended }) => ended),
    status,
    progress: (operation: string) =>
      Stream.unwrap(Effect.sync(() => {
        const run = runs.get(operation)
        const told: Stream.Stream<Status, OperationNotFound | JournalError> = run === undefined
          ? Stream.changes(Stream.fromEffectSchedule(recorded(operation), Schedule.spaced("500 millis")))
          : SubscriptionRef.changes(run.status)
        return Stream.takeUntil(told, hasEnded)
      })),
    cancel: Effect.fnUntraced(function*(operation: string) {
      yield* known(operation)
      const { state } = yield* journal.cancel(operation)
      if (state !== "preparing") return yield* new CancelRefused({ operation, state })
      const run = runs.get(operation)
      if (run !== undefined) yield* Deferred.succeed(run.cancelled, undefined)
    }),
    adopt: (group: Resizable["Service"]) =>
      Effect.flatMap(
        turn.withPermit(Effect.gen(function*() {
          const left = yield* journal.unended(group.group)
          if (Option.isNone(left)) return Option.none<Run>()
          const run = runs.get(left.value.id)
          if (run !== undefined) return Option.some(run)
          const payload = yield* read(payloads, left.value.request, `the operation ${left.value.id}`)
          return Option.some(yield* start(payload, group, true))
        })),
        (run) => Effect.transposeOption(Option.map(run, ({ ended }) => Deferred.await(ended)))
      ),
    forget: Effect.fnUntraced(function*(age: Duration.Input) {
      const before = Math.max(0, Math.floor((yield* Clock.currentTimeMillis) - Duration.toMillis(age)))
      let forgotten = 0
      for (const { id, request } of yield* journal.ended(before)) {
        const payload = yield* Effect.option(read(payloads, request, `the operation ${id}`))
        if (Option.isNone(payload)) continue
        if (yield* journal.forget(id, yield* Scaling.Scale.executionId(payload.value))) forgotten++
      }
      return forgotten
    })
  }
})
