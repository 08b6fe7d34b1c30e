/**
 * One life of a member: its lanes, its process, and the wait until it serves. All of it ends with the life's scope.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Cluster from "../Cluster.ts"
import type { Publisher } from "../MessageQueues.ts"
import type { QueueError } from "../QueueError.ts"
import { describe, SpawnError } from "../WorkerError.ts"
import { type Control, type FromWorker, Kind } from "./frame.ts"
import type { Member, Roster } from "./roster.ts"

export interface Life {
  readonly member: Member
  readonly incarnation: number
  /** With which it began. */
  readonly rank: number
  readonly scope: Scope.Closeable
  readonly started: Deferred.Deferred<void, SpawnError>
  process: Cluster.Process | undefined
  /** Its end has been dealt with. */
  over: boolean
}

/** What a worker is told that it is when it begins. */
export interface Seat {
  readonly rank: number
  readonly shape: Readonly<Record<string, number>>
  readonly generation: number
}

/** How a life begins, if not in its member's rank with a state of its own. */
export interface Beginning {
  /** Of one that joins the next epoch. */
  readonly seat?: Seat | undefined
  /** Its state is brought to it when it serves. */
  readonly restoring?: boolean | undefined
}

export interface Options {
  readonly group: string
  readonly entry: Cluster.Entry<any>
  readonly cluster: Cluster.Cluster["Service"]
  readonly publisher: () => Publisher
  readonly roster: Roster
  readonly readyWithin: Duration.Duration
  readonly send: (member: Member, message: Control) => void
  /** Where all lives end. */
  readonly scope: Scope.Scope
  /** The worker is gone, whether it was ready or not. */
  readonly ended: (life: Life, end: Cluster.End) => Effect.Effect<void>
}

const lastWords = "Its standard error says why, if it had the time"

export const make = (options: Options) => {
  const { cluster, roster } = options
  const entry = options.entry instanceof URL ? options.entry.href : "a worker value"
  const current = new Map<Member, Life>()

  const error = (
    { process, rank }: Life,
    phase: SpawnError["phase"],
    issue: string,
    advice: string,
    stderr: ReadonlyArray<string>
  ): SpawnError => new SpawnError({ rank, node: process?.node ?? "", entry, phase, issue, advice, stderr })

  const stderrOf = (life: Life) => life.process?.stderr ?? Effect.succeed<ReadonlyArray<string>>([])

  const tooLate = (life: Life) =>
    Effect.flatMap(stderrOf(life), (stderr) =>
      Effect.fail(error(
        life,
        "ready",
        `it was not ready within ${Duration.format(options.readyWithin)}`,
        "Mend what its layer waits for, or raise the group's readyWithin",
        stderr
      )))

  const born = Effect.fnUntraced(function*(member: Member, rank: number) {
    const life: Life = {
      member,
      incarnation: member.incarnation,
      rank,
      scope: yield* Scope.fork(options.scope),
      started: Deferred.makeUnsafe(),
      process: undefined,
      over: false
    }
    current.set(member, life)
    return life
  })

  return {
    of: (member: Member): Life | undefined => current.get(member),
    /** Whether the member's present life has begun to serve. */
    serves: (member: Member): boolean => {
      const life = current.get(member)
      return life !== undefined && Deferred.isDoneUnsafe(life.started)
    },
    stderrOf,
    /** Starts the member's present incarnation and waits until it serves. One that joins the next epoch begins with the seat that it is to have. */
    begin: Effect.fnUntraced(
      function*(member: Member, { restoring, seat }: Beginning = {}): Effect.fn.Return<Life, SpawnError | QueueError> {
        const { incarnation } = member
        const life = yield* born(member, seat?.rank ?? member.rank)
        yield* Effect.gen(function*() {
          const handle = yield* options.publisher().connect(member.id, incarnation)
          // It may have waited while the group went on to another epoch.
          member.heard = roster.fence.epoch
          // Before it can hear anything else.
          if (restoring === true) options.send(member, { kind: Kind.Restoring, restoring })
          const process = life.process = yield* cluster.spawn({
            entry: options.entry,
            identity: {
              group: options.group,
              ...roster.fence,
              member: member.id,
              incarnation,
              handle,
              ...seat === undefined
                ? { rank: member.rank, shape: roster.mesh.shape, generation: roster.generation }
                : { ...seat, joining: true }
            }
          })
          yield* process.end.pipe(Effect.flatMap((end) => options.ended(life, end)), Effect.forkScoped({ startImmediately: true }))
          yield* Effect.timeoutOrElse(Deferred.await(life.started), { duration: options.readyWithin, orElse: () => tooLate(life) })
        }).pipe(
          Scope.provide(life.scope),
          Effect.onError((cause) => {
            life.over = true
            return Scope.close(life.scope, Exit.failCause(cause))
          })
        )
        return life
      }
    ),
    /** Gives a worker that had another driver its lanes to this one; resolves when it has been told of them. It says what it is on these. */
    adopt: Effect.fnUntraced(function*(member: Member, orphan: Cluster.Orphan, driver: number): Effect.fn.Return<Life, QueueError> {
      const life = yield* born(member, orphan.rank)
      yield* Effect.gen(function*() {
        const { end } = life.process = yield* orphan.process
        const handle = yield* options.publisher().connect(member.id, member.incarnation)
        yield* end.pipe(Effect.flatMap((end) => options.ended(life, end)), Effect.forkScoped({ startImmediately: true }))
        yield* orphan.claim({ driver, handle })
      }).pipe(Scope.provide(life.scope))
      return life
    }),
    /** A life of which nothing is left. */
    vacant: (member: Member): Effect.Effect<Life> => born(member, member.rank),
    /** The worker says why it will not serve. */
    refused: (life: Life, { advice, issue, phase }: Extract<FromWorker, { kind: typeof Kind.Failed }>): Effect.Effect<void> =>
      Effect.flatMap(stderrOf(life), (stderr) => Deferred.fail(life.started, error(life, phase, issue, advice, stderr))),
    /** It ended before it was ready; whether that is what its end was. */
    unready: (life: Life, { death, stderr }: Cluster.End): boolean =>
      // An error costs milliseconds to make for the first time, and a death is urgent.
      !Deferred.isDoneUnsafe(life.started)
      && Deferred.doneUnsafe(
        life.started,
        Exit.fail(error(life, "start", `it ended before it was ready: ${describe(death)}`, lastWords, stderr))
      ),
    /** It was ready and ended while others were not yet. */
    early: (life: Life, { death, stderr }: Cluster.End): SpawnError =>
      error(life, "start", `it ended while others started: ${describe(death)}`, lastWords, stderr)
  }
}
export type Lives = ReturnType<typeof make>
