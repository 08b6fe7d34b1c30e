/**
 * Any group as something that can be resized. Who joins, who leaves, the epochs and their beginning are the group's; what its members have to be brought is told by three hooks.
 *
 * A successor of a driver that is gone makes one over the group that it has adopted. What that driver had prepared is given up with it, so a commit that it had decided on prepares again.
 */
import type * as Standby from "@phalanx/core/Standby"
import type * as WorkerGroup from "@phalanx/core/WorkerGroup"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as Scope from "effect/Scope"
import { ResizeError } from "./ElasticError.ts"
import { Resizable, type Resize, type Serving } from "./Resizable.ts"

/** Whatever can go wrong in a group's own part. */
interface Failed {
  readonly message: string
}

/** What a group does for its members' sake. */
export interface Hooks<P extends RpcGroup.Any, D extends string> {
  /** Brings members of the next epoch what they are to have, while the present one serves. It may be run again. */
  readonly copy: (standby: WorkerGroup.Standby<P, D>, resize: Resize) => Effect.Effect<void, Failed>
  /**
   * Holds back whatever would change that, brings what has changed since, and runs `commit`; answers for how many milliseconds it held back. It may be run again, as long as `commit` has not
   * succeeded.
   */
  readonly commit: (
    standby: WorkerGroup.Standby<P, D>,
    commit: Effect.Effect<void, Standby.StandbyError>,
    resize: Resize
  ) => Effect.Effect<number, Failed>
  /** Has the present members forget what they were brought and do not need. */
  readonly forget: Effect.Effect<void, Failed>
}

interface Change<P extends RpcGroup.Any, D extends string> {
  readonly standby: WorkerGroup.Standby<P, D>
  readonly scope: Scope.Closeable
  copied: boolean
}

const failed = ({ message }: Failed): ResizeError =>
  new ResizeError({ issue: message, advice: "The group goes on as it is; ask again, or for another size" })

/** Whether what was asked for serves. A group that has lost a member has another epoch, too, but not for that. */
const isReached = (now: Serving, { epoch, request }: Resize): boolean =>
  now.epoch >= epoch &&
  ("to" in request
    ? Object.entries(request.to).every(([name, size]) => now.shape[name] === size)
    : request.leave.every((id) => !now.members.includes(id)))

/** Fails when the group does, for good: there is nobody left to do a step. */
const ended = (group: { readonly failure: Effect.Effect<never, Failed> }): Effect.Effect<never, ResizeError> =>
  Effect.mapError(group.failure, ({ message }) => new ResizeError({ issue: message, advice: "Start the group anew", final: true }))

/** The group, called in the journal by its name. */
export const make = <P extends RpcGroup.Any, D extends string>(
  group: WorkerGroup.WorkerGroup<P, D>,
  hooks: Hooks<P, D>
): Resizable["Service"] => {
  const changes = new Map<number, Change<P, D>>()
  /** Epochs whose standby was given up here, and not prepared again. */
  const aborted = new Set<number>()
  const serving: Effect.Effect<Serving> = Effect.map(group.membership, ({ epoch, members, mesh }) => ({
    epoch,
    shape: mesh.shape as Readonly<Record<string, number>>,
    members: members.map(({ id }) => id)
  }))

  const close = (epoch: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const change = changes.get(epoch)
      changes.delete(epoch)
      return change === undefined ? Effect.void : Scope.close(change.scope, Exit.void)
    })

  const prepare = ({ epoch, request }: Resize): Effect.Effect<void, ResizeError> =>
    Effect.gen(function*() {
      yield* close(epoch)
      const scope = yield* Scope.make()
      const standby = yield* group.prepare(request as Standby.Change<D>).pipe(
        Scope.provide(scope),
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
      changes.set(epoch, { standby, scope, copied: false })
      aborted.delete(epoch)
    }).pipe(Effect.mapError(failed))

  /** What can still begin. */
  const prepared = (epoch: number): Effect.Effect<Change<P, D>, ResizeError> =>
    Effect.suspend(() => {
      const change = changes.get(epoch)
      return change === undefined
        ? Effect.fail(failed({ message: `epoch ${epoch} is not prepared` }))
        : Effect.as(Effect.mapError(Effect.raceFirst(change.standby.failure, Effect.void), failed), change)
    })
  const copied = (epoch: number): Effect.Effect<Change<P, D>, ResizeError> =>
    Effect.filterOrFail(
      prepared(epoch),
      ({ copied }) => copied,
      () => failed({ message: `not all that epoch ${epoch} needs has been copied` })
    )

  const copy = Effect.fnUntraced(function*(resize: Resize) {
    const change = yield* prepared(resize.epoch)
    yield* Effect.mapError(Effect.raceFirst(hooks.copy(change.standby, resize), change.standby.failure), failed)
    change.copied = true
  })

  const forget = Effect.mapError(hooks.forget, failed)

  /** A step ends for good with the group. */
  const whileItLives = <A>(step: Effect.Effect<A, ResizeError>): Effect.Effect<A, ResizeError> => Effect.raceFirst(ended(group), step)

  return Resizable.of({
    group: group.name,
    serving,
    prepare: (resize) => whileItLives(prepare(resize)),
    copy: (resize) => whileItLives(copy(resize)),
    ready: ({ epoch }) => whileItLives(Effect.asVoid(copied(epoch))),
    commit: Effect.fnUntraced(function*(resize) {
      const now = yield* serving
      if (isReached(now, resize)) {
        yield* changes.get(resize.epoch)?.standby.entered ?? Effect.void
        return { pauseMillis: 0 }
      }
      if (aborted.has(resize.epoch) || now.epoch >= resize.epoch) {
        return yield* new ResizeError({
          issue: now.epoch >= resize.epoch ? `epoch ${now.epoch} is another one` : `epoch ${resize.epoch} was given up`,
          advice: "Ask for the size anew",
          final: true
        })
      }
      // Past the point of no return there is one way, with whoever is there.
      const spoilt = (yield* Effect.exit(copied(resize.epoch)))._tag === "Failure"
      if (spoilt) yield* Effect.andThen(forget, Effect.andThen(prepare(resize), copy(resize)))
      const { standby } = yield* copied(resize.epoch)
      const pauseMillis = yield* hooks.commit(standby, standby.commit, resize).pipe(
        // Its ranks may not reach each other any more, though all of them live: the next attempt has another one.
        Effect.tapError(() => close(resize.epoch)),
        Effect.mapError(failed)
      )
      // Somebody may die while the others enter it, and the group become another one.
      const to = yield* serving
      // Nobody may read that it is done and find a group that has forgotten it.
      yield* standby.entered
      return { pauseMillis, to }
    }, whileItLives),
    retire: ({ epoch }) => close(epoch),
    abort: (resize) =>
      Effect.flatMap(serving, (now) => {
        if (isReached(now, resize)) return Effect.void
        aborted.add(resize.epoch)
        return Effect.andThen(close(resize.epoch), forget)
      })
  })
}
