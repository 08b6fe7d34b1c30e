/** The workflow of one operation: its steps, what undoes them, and where they can no longer be undone. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Activity from "effect/workflow/Activity"
import * as Workflow from "effect/workflow/Workflow"
import { JournalError, type Reason, ResizeError, ScaleFailed, type Step } from "../ElasticError.ts"
import type * as Journal from "../Journal.ts"
import * as JournalEngine from "../JournalEngine.ts"
import { Scaled, type Status, StepTime } from "../Operation.ts"
import { Request, type Resizable, type Resize, Serving, type Shape } from "../Resizable.ts"

/** What an operation was begun with. */
export const Payload = Schema.Struct({
  operation: Schema.String,
  group: Schema.String,
  request: Request,
  from: Serving,
  /** Milliseconds since 1970; null for none. */
  deadline: Schema.NullOr(Schema.Int),
  began: Schema.Int,
  /** Names the process that has begun it. */
  driver: Schema.String,
  /** Tells it from one of the same name that was forgotten. Journals of before that was possible have none. */
  key: Schema.optionalKey(Schema.String)
})
export type Payload = typeof Payload.Type

/** An operation that this process runs. */
export interface Run {
  readonly payload: Payload
  readonly group: Resizable["Service"]
  /** Begun by a driver that is gone. */
  readonly adopted: boolean
  readonly cancelled: Deferred.Deferred<void>
  readonly status: SubscriptionRef.SubscriptionRef<Status>
}

/** One execution is one operation. */
export const Scale = Workflow.make("phalanx/Scale", {
  payload: Payload,
  success: Scaled,
  error: ScaleFailed,
  idempotencyKey: ({ key, operation }) => key ?? operation
})

/** What a step leaves in the journal. */
export const Done = Schema.Struct({
  time: StepTime,
  /** Of `validate`: whether there is anything to do. */
  changes: Schema.optionalKey(Schema.Boolean),
  /** Of `commit`. */
  pauseMillis: Schema.optionalKey(Schema.Finite),
  to: Schema.optionalKey(Serving)
})
type Left = Omit<typeof Done.Type, "time">

/** Waits longer each time, up to five seconds. */
export const patiently = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])
/** How long an answer of the journal is waited for before an operation that is not committed is given up. */
const hesitation = Schedule.max([patiently, Schedule.during("30 seconds")])
const undoing = Schedule.max([patiently, Schedule.recurs(5)])

/** The body of the workflow. `runOf` waits until somebody in this process runs the operation. */
export const body = (journal: Journal.Journal["Service"], runOf: (operation: string) => Effect.Effect<Run>) =>
  Effect.fnUntraced(function*(payload: Payload) {
    const { from, operation, request } = payload
    const run = yield* runOf(operation)
    const { group, status } = run
    const { after, before, decide, resize, undo } = stepsOf(journal, run)
    const { changes } = yield* before("validate", validate(request, from)).pipe(Scale.withCompensation(() => undo))
    const scaled = Effect.map(SubscriptionRef.get(status), ({ steps }) => ({ operation, from, steps }))
    if (changes !== true) return { ...yield* scaled, changed: false, to: from, pauseMillis: 0 }
    yield* before("prepare", group.prepare(resize))
    yield* before("copy", group.copy(resize))
    yield* before("ready", group.ready(resize))
    yield* decide
    const commit = Effect.flatMap(group.commit(resize), (committed) => Effect.map(group.serving, (to) => ({ to, ...committed })))
    const { pauseMillis = 0, to = from } = yield* after("commit", commit)
    yield* after("retire", group.retire(resize))
    return { ...yield* scaled, changed: true, to, pauseMillis }
  })

/** What the steps of one run of an operation have in common. */
const stepsOf = (journal: Journal.Journal["Service"], { adopted, cancelled, group, payload, status }: Run) => {
  const { began, deadline, from, operation, request } = payload
  const say = (part: Partial<Status>) => SubscriptionRef.update(status, (now): Status => ({ ...now, ...part }))
  const resize: Resize = { operation, request, from, epoch: from.epoch + 1, report: (progress) => say({ progress }) }
  let committed = false

  const failed = (step: Step) => (reason: Reason) => new ScaleFailed({ operation, step, committed, reason })
  const refused = (step: Step) => ({ message }: ResizeError) => failed(step)({ _tag: "Refused", issue: message })

  /** A step of its own in the journal. */
  const step = (name: Step, effect: Effect.Effect<Left, ScaleFailed>) => {
    // What was said of the step before does not hold for this one, nor what troubled it once it has ended.
    const turn = (part: (now: Status) => Partial<Status>) =>
      SubscriptionRef.update(status, (now): Status => ({ ...Struct.omit(now, ["progress", "trouble"]), ...part(now) }))
    const bug = (defect: unknown) =>
      defect instanceof JournalError ? Effect.die(defect) : Effect.fail(failed(name)({ _tag: "Defect", issue: String(defect) }))
    const execute = Effect.gen(function*() {
      const began = yield* Clock.currentTimeMillis
      yield* turn(() => ({ step: name }))
      const left = yield* Effect.catchDefect(effect, bug)
      return { ...left, time: { step: name, began, ended: yield* Clock.currentTimeMillis } }
    })
    return Effect.tap(
      Activity.make({ name, success: Done, error: ScaleFailed, execute }),
      ({ time }) => turn(({ steps }) => ({ steps: [...steps, time] }))
    )
  }

  /** Goes on asking a journal that fails. */
  const untilWritten = <A, R>(effect: Effect.Effect<A, ScaleFailed, R>): Effect.Effect<A, ScaleFailed, R> =>
    effect.pipe(
      Effect.sandbox,
      Effect.tapError((cause) =>
        Option.match(JournalEngine.journalError(cause), { onNone: () => Effect.void, onSome: ({ message }) => say({ trouble: message }) })
      ),
      Effect.retry({ while: (cause) => Option.isSome(JournalEngine.journalError(cause)), schedule: patiently }),
      Effect.catch((cause) => Effect.failCause(cause))
    )

  /**
   * Until the point of no return a journal that fails is a reason to go back. Not so for a successor: what the journal has to say of the decision of the driver before it is
   * what it has to know.
   */
  const written = <A, R>(name: Step, effect: Effect.Effect<A, ScaleFailed, R>): Effect.Effect<A, ScaleFailed, R> =>
    adopted ? untilWritten(effect) : Effect.catchCause(effect, (cause) =>
      Option.match(JournalEngine.journalError(cause), {
        onNone: () => Effect.failCause(cause),
        onSome: ({ message }) => Effect.fail(failed(name)({ _tag: "JournalFailed", issue: message }))
      }))

  /** A step before the point of no return: ended by a cancel and by the deadline; no successor begins it. */
  const before = (name: Step, effect: Effect.Effect<Left | void, ResizeError>) => {
    const fail = failed(name)
    const stopped = Effect.andThen(Deferred.await(cancelled), Effect.suspend(() => fail({ _tag: "Cancelled" })))
    const late = deadline === null ? Effect.never : Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.andThen(
        Effect.sleep(Duration.millis(Math.max(0, deadline - now))),
        Effect.suspend(() => fail({ _tag: "DeadlineExceeded", millis: deadline - began }))
      ))
    const lost = Effect.suspend(() => fail({ _tag: "DriverLost" }))
    return written(name, step(name, adopted ? lost : Effect.raceAllFirst([Effect.mapError(leaving(effect), refused(name)), stopped, late])))
  }

  /** A step after it: carried on until it has succeeded and that is written down, unless there is no group left. */
  const after = (name: Step, effect: Effect.Effect<Left | void, ResizeError>) =>
    untilWritten(step(
      name,
      leaving(effect).pipe(
        Effect.tapError(({ message }) => say({ trouble: message })),
        Effect.retry({ while: ({ final }) => !final, schedule: patiently }),
        Effect.mapError(refused(name))
      )
    ))

  /** The point of no return, for the driver that has come to it. */
  const deciding = Effect.gen(function*() {
    const fail = failed("decide")
    if (deadline !== null && (yield* Clock.currentTimeMillis) >= deadline) {
      return yield* fail({ _tag: "DeadlineExceeded", millis: deadline - began })
    }
    if ((yield* group.serving).epoch !== from.epoch) {
      return yield* fail({ _tag: "Refused", issue: `the membership of epoch ${from.epoch} does not serve any more` })
    }
    // A connection that was lost in the middle does not tell whether it was written: only the journal can.
    const { state } = yield* journal.decide(operation).pipe(
      Effect.tapError(({ message }) => say({ trouble: message })),
      Effect.retry({ while: ({ reason }) => reason === "unavailable", schedule: hesitation }),
      Effect.mapError(({ message }) => fail({ _tag: "JournalFailed", issue: message }))
    )
    if (state !== "committing") return yield* fail({ _tag: "Cancelled" })
    committed = true
    return {}
  })

  /** The same for a successor, which decides nothing. */
  const decided = Effect.gen(function*() {
    const operations = yield* Effect.orDie(journal.operation(operation))
    return Option.exists(operations, ({ state }) => state === "committing") ? {} : yield* failed("decide")({ _tag: "DriverLost" })
  })

  const decide = Effect.gen(function*() {
    // Once it is decided, the step's own line in the journal tells nothing new.
    yield* Effect.catchIf(written("decide", step("decide", adopted ? decided : deciding)), () => committed, () => Effect.void)
    committed = true
    yield* say({ committed })
  })

  /** Goes back to the membership before, as far as the group can; nothing once it is decided. */
  const undo = Effect.suspend(() =>
    committed ? Effect.void : Effect.andThen(
      say({ state: "rollingBack" }),
      group.abort(resize).pipe(
        Effect.tapError(({ message }) => say({ trouble: message })),
        Effect.retry({ while: ({ final }) => !final, schedule: undoing }),
        Effect.ignoreCause({ log: "Error", message: `${operation}: what was prepared could not be undone` })
      )
    )
  )

  return { after, before, decide, resize, undo }
}

const leaving = <E>(effect: Effect.Effect<Left | void, E>): Effect.Effect<Left, E> => Effect.map(effect, (left) => left ?? {})

/** Whether a request changes anything, or what is wrong with it. */
const validate = (request: Request, from: Serving): Effect.Effect<Left, ResizeError> => {
  const issue = "to" in request ? misfit(request.to, from.shape) : strangers(request.leave, from.members)
  if (issue !== undefined) return Effect.fail(new ResizeError({ issue, advice: "Ask for what the group can be" }))
  const changes = "to" in request ? Object.keys(from.shape).some((name) => request.to[name] !== from.shape[name]) : request.leave.length > 0
  return Effect.succeed({ changes })
}

const misfit = (to: Shape, from: Shape): string | undefined => {
  const [wanted, present] = [to, from].map((shape) => Object.keys(shape).sort().join(", "))
  if (wanted !== present) return `the group has the dimensions ${present}, not ${wanted}`
  const wrong = Object.entries(to).find(([, size]) => size < 1)
  return wrong && `${wrong[0]} cannot be ${wrong[1]}`
}

const strangers = (leave: ReadonlyArray<number>, members: ReadonlyArray<number>): string | undefined => {
  const stranger = leave.find((member) => !members.includes(member))
  if (stranger !== undefined) return `there is no member ${stranger}, only ${members.join(", ")}`
  if (new Set(leave).size !== leave.length) return `a member cannot leave twice: ${leave.join(", ")}`
  return leave.length === members.length ? "a group cannot go on without members" : undefined
}
