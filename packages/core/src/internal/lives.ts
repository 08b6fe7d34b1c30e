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
import type { FromWorker, Kind } from "./frame.ts"
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

export interface Options {
  readonly group: string
  readonly entry: Cluster.Entry<any>
  readonly cluster: Cluster.Cluster["Service"]
  readonly publisher: () => Publisher
  readonly roster: Roster
  readonly readyWithin: Duration.Duration
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

  return {
    of: (member: Member): Life | undefined => current.get(member),
    /** Whether the member's present life has begun to serve. */
    serves: (member: Member): boolean => {
      const life = current.get(member)
      return life !== undefined && Deferred.isDoneUnsafe(life.started)
    },
    stderrOf,
    /** Starts the member's present incarnation and waits until it serves. One that joins the next epoch begins with the seat that it is to have. */
    begin: Effect.fnUntraced(function*(member: Member, seat?: Seat): Effect.fn.Return<Life, SpawnError | QueueError> {
      const { incarnation } = member
      const life: Life = {
        member,
        incarnation,
        rank: seat?.rank ?? member.rank,
        scope: yield* Scope.fork(options.scope),
        started: Deferred.makeUnsafe(),
        process: undefined,
        over: false
      }
      current.set(member, life)
      yield* Effect.gen(function*() {
        const handle = yield* options.publisher().connect(member.id, incarnation)
        // It may have waited while the group went on to another epoch.
        member.heard = roster.fence.epoch
        const process = life.process = yield* cluster.spawn({
          entry: options.entry,
          identity: {
            group: options.group,
            ...roster.fence,
            member: member.id,
            incarnation,
            handle,
            ...seat ?? { rank: member.rank, shape: roster.mesh.shape, generation: roster.generation }
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
    }),
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
